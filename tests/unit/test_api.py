"""The table of operations is the only list of routes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rlm_worker.api.admin import AdminRoutes
from rlm_worker.api.app import Api, find_operation
from rlm_worker.api.operations import OPERATIONS
from rlm_worker.budget.funding import Unlimited
from rlm_worker.errors import MethodNotAllowed, NotFound
from rlm_worker.http import Call, HttpRequest
from rlm_worker.log import RequestRecord
from rlm_worker.ports import pieces
from rlm_worker.sessions.runner import Runner
from rlm_worker.testing import ManualClock, MemoryCache, MemoryKeys, MemoryMetrics, MemoryStore, RateLimiterDisabled
from rlm_worker.wire.keys import KeyEntry
from tests.unit.conftest import settings

SESSION = "0123456789abcdef" * 2


class NoObjects:
    async def call(self, name: str, method: str, *arguments: object) -> object:
        raise NotFound("there is no such session")

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        raise NotFound("there is no such session")


class NoProbes:
    async def check(self) -> dict[str, str | None]:
        return {}


def an_api() -> Api:
    runner = Runner(settings(), NoObjects(), MemoryStore(), MemoryCache(), MemoryMetrics(), ManualClock())
    return Api(
        runner,
        accounts=Unlimited(),
        limiter=RateLimiterDisabled(),
        probes=NoProbes(),
        keys=MemoryKeys(),
        admin=AdminRoutes(NoObjects(), NoObjects(), runner.settings),
    )


def test_every_operation_has_handler() -> None:
    assert set(an_api()._handlers) == {operation.name for operation in OPERATIONS}


@pytest.mark.parametrize(
    ("method", "path", "name", "parameters"),
    [
        ("POST", "/rlm", "run", {}),
        ("GET", f"/session/{SESSION}/events", "sessionEvents", {"id": SESSION}),
        ("DELETE", f"/session/{SESSION}", "deleteSession", {"id": SESSION}),
        ("GET", f"/rlm/batch/{SESSION}/results", "batchResults", {"id": SESSION}),
        ("GET", "/v1/models/%40cf%2Fmeta%2Fm", "getModel", {"id": "@cf/meta/m"}),
        ("DELETE", f"/contexts/ctx_{SESSION}", "deleteContext", {"id": f"ctx_{SESSION}"}),
    ],
)
def test_paths_find_operations(method: str, path: str, name: str, parameters: dict[str, str]) -> None:
    operation, found = find_operation(method, path)
    assert (operation.name, found) == (name, parameters)


def test_wrong_method_names_right_ones() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        find_operation("PATCH", f"/rlm/batch/{SESSION}")
    assert refused.value.allowed == ("GET", "DELETE")


@pytest.mark.parametrize(
    "path", ["/", "/rlm/", f"/session/{SESSION}x", "/session/../rlm", f"/contexts/{SESSION}", "/v1/"]
)
def test_other_paths_lead_nowhere(path: str) -> None:
    with pytest.raises(NotFound):
        find_operation("GET", path)


class AskedObjects(NoObjects):
    """Keeps what it was asked; every key is admitted."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def call(self, name: str, method: str, *arguments: object) -> object:
        self.asked.append((name, method))
        admitted = KeyEntry(name=name, digest="0" * 64, state="active", created_at="2026-11-24T00:00:00Z")
        return admitted.to_wire() if method == "add_key" else None


@pytest.mark.parametrize(("name", "budgets"), [("ann", []), ("bea", [("bea", "limit_daily")])])
async def test_known_name_keeps_budget(name: str, budgets: list[tuple[str, str]]) -> None:
    """A further key of a name that the secret knows leaves its budget as it is; a name that is new begins anew."""
    accounts, known = AskedObjects(), replace(settings(), keys=f"ann:{'1' * 64}")
    body = json.dumps({"name": name, "digest": "0" * 64}).encode()
    request = HttpRequest("POST", "/admin/keys", {}, {"content-type": "application/json"}, pieces(body))
    record = RequestRecord.of("POST", "/admin/keys", {}, 0.0)
    await AdminRoutes(AskedObjects(), accounts, known).add_key(Call(request, "/admin", {}, record))
    assert accounts.asked == budgets
