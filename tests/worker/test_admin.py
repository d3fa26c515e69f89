"""Keys that the deployment keeps: added, rotated, revoked, each with its budget, in the real runtime."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from rlm_worker.keys.ring import CACHING_SECONDS
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker

ADMIN = "the admin key"
FRONT = Path(__file__).with_name("faulty_entry.py")
LONG = "The grass is green. " * 2_000
_numbers = itertools.count()


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


VARIABLES = {"RLM_LOCAL": "", "RLM_ADMIN_KEYS": digest(ADMIN), "KEY_DAILY_USD": "5", "DEPLOYMENT_DAILY_USD": "0.02"}


class Keys:
    """The admin routes of a deployment, and callers with the keys that were made."""

    def __init__(self, url: str) -> None:
        self.admin = httpx.Client(base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, timeout=60)

    def add(self, name: str, **more: object) -> str:
        key = secrets.token_hex(16)
        answer = self.admin.post("/admin/keys", json={"name": name, "digest": digest(key), **more})
        assert answer.status_code == 201, answer.text
        return key

    def revoke(self, key: str) -> None:
        assert self.admin.delete(f"/admin/keys/{digest(key)[:12]}").status_code == 200

    def ask(self, key: str, text: str = "", **more: object) -> httpx.Response:
        body = {"context": text or f"{next(_numbers)}. Grass is green.", "query": "why?", **more}
        return self.admin.post("/rlm", json=body, headers={"authorization": f"Bearer {key}"})

    def spent(self, name: str) -> float:
        budgets = {budget["name"]: budget["account"] for budget in self.admin.get("/admin/keys").json()["budgets"]}
        return float(budgets[name]["spentTodayUsd"])


@pytest.fixture(scope="module")
def deployed(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """A deployment that has an admin key and no other."""
    folder = tmp_path_factory.mktemp("admin")
    with DevProcess(folder, ai=scripted_server.url, variables=VARIABLES, front=FRONT) as process:
        yield process


@pytest.fixture
def keys(deployed: DevProcess, scripted: ScriptedModel) -> Iterator[Keys]:
    with opened(deployed) as keys:
        yield keys
        for entry in keys.admin.get("/admin/keys").json()["keys"]:
            keys.admin.delete(f"/admin/keys/{entry['digest']}")


@contextmanager
def opened(process: DevProcess) -> Iterator[Keys]:
    keys = Keys(process.url)
    with keys.admin:
        yield keys


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


def test_admin_is_no_ones(deployed: DevProcess, keys: Keys) -> None:
    key = keys.add("ann")
    for headers in ({}, {"authorization": f"Bearer {key}"}, {"x-api-key": "guess"}):
        for method, path in (("GET", "/admin/keys"), ("POST", "/admin/keys"), ("DELETE", f"/admin/keys/{'0' * 64}")):
            answer = httpx.request(method, f"{deployed.url}{path}", headers=headers)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthenticated")
            assert answer.headers["cache-control"] == "no-store"
    assert "/admin" not in httpx.get(f"{deployed.url}/openapi.json").text


def test_admin_needs_configuration(start_worker: StartWorker) -> None:
    worker = start_worker(vars={"RLM_LOCAL": ""})
    answer = httpx.get(f"{worker.url}/admin/keys", headers={"authorization": "Bearer guess"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "not_configured")


def test_new_key_works_soon(keys: Keys) -> None:
    assert keys.ask("guess").status_code in {401, 503}  # the list has been read just now
    key = keys.add("bob")
    assert eventually(lambda: keys.ask(key).status_code == 200, 20)


def test_listing_keeps_no_key(deployed: DevProcess, keys: Keys) -> None:
    key = keys.add("cid", dailyUsd=0.5)
    shown = keys.admin.get("/admin/keys").text
    assert digest(key) in shown
    assert key not in shown + deployed.log()
    assert keys.admin.get("/admin/keys").json()["cachingSeconds"] == CACHING_SECONDS


def test_rotation_serves_both(keys: Keys) -> None:
    old = keys.add("dan")
    new = keys.add("dan", rotate=True)
    assert eventually(lambda: keys.ask(new).status_code == 200, 20)
    session = keys.ask(old).json()["sessionId"]
    status = keys.admin.get(f"/session/{session}/status", headers={"authorization": f"Bearer {new}"})
    assert status.status_code == 200
    again = keys.admin.post("/admin/keys", json={"name": "dan", "digest": digest("another")})
    assert (again.status_code, again.json()["error"]["type"]) == (409, "conflict")


def test_revocation_takes_effect(keys: Keys) -> None:
    """Within the time that the listing tells, on an isolate that has just seen the key."""
    key = keys.add("eve")
    assert eventually(lambda: keys.ask(key).status_code == 200, 20)
    keys.revoke(key)
    assert eventually(lambda: keys.ask(key).status_code in {401, 503}, CACHING_SECONDS + 10)


def test_own_budget_is_exact(keys: Keys, scripted: ScriptedModel) -> None:
    key = keys.add("fay", dailyUsd=0.004)
    assert eventually(lambda: keys.ask(key).status_code == 200, 20)
    statuses = [keys.ask(key, f"{number}. {LONG}").status_code for number in range(20)]
    spent = keys.spent("fay")
    assert (statuses[0], statuses[-1]) == (200, 429)
    assert 0.001 < spent <= 0.004
    raised = keys.admin.put("/admin/budgets/fay", json={"dailyUsd": 1})
    assert raised.json()["account"]["dailyUsd"] == 1
    assert keys.ask(key, f"21. {LONG}").status_code == 200


def test_deployment_cap_is_exact(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """Two keys with ample budgets of their own spend no more together than the deployment may."""
    with opened(start_worker(vars={**VARIABLES, "DEPLOYMENT_DAILY_USD": "0.006"})) as keys:
        callers = [keys.add("gil"), keys.add("hal")]
        answers = [keys.ask(callers[number % 2], f"{number}. {LONG}") for number in range(16)]
        assert {answer.status_code for answer in answers} == {200, 429}
        whole = keys.admin.get("/admin/keys").json()["deployment"]
        shares = [keys.spent("gil"), keys.spent("hal")]
    assert 0.003 < sum(shares) <= 0.006
    assert min(shares) > 0
    assert whole["spentTodayUsd"] == pytest.approx(sum(shares), abs=1e-8)
    assert "DEPLOYMENT_DAILY_USD" in answers[-1].json()["error"]["message"]


def test_unread_list_is_unavailable(deployed: DevProcess, keys: Keys) -> None:
    """Nobody is told that a key is unknown because the list could not be read; keys of the secret do not need it."""
    httpx.put(f"{deployed.url}/faults", json={"RLM_KEYS": {"mode": "throwing"}})
    try:
        assert eventually(lambda: keys.ask("guess").status_code == 503, 10)
    finally:
        httpx.put(f"{deployed.url}/faults", json={})


def test_cancelled_run_frees_deployment(keys: Keys, scripted: ScriptedModel) -> None:
    key = keys.add("ivy")
    assert eventually(lambda: keys.ask(key).status_code in {200, 429}, 20)
    scripted.faults = [Fault("hang", times=1)]
    running = keys.ask(key, background=True)
    if running.status_code == 202:
        session = running.json()["sessionId"]
        keys.admin.delete(f"/session/{session}", headers={"authorization": f"Bearer {key}"})
    assert keys.admin.get("/admin/keys").json()["deployment"]["runs"] == 0
