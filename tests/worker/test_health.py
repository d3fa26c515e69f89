"""`/health`: what ops curl."""

from __future__ import annotations

import httpx
import pytest

from rlm_worker import __version__
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel

pytestmark = pytest.mark.worker


def test_health_names_service(http: httpx.Client) -> None:
    known = http.get("/health").json()
    assert (known["status"], known["service"], known["version"]) == ("ok", "rlm-worker", __version__)


def test_deep_health_tries_bindings(http: httpx.Client, scripted: ScriptedModel) -> None:
    answer = http.get("/health?deep=1")
    assert answer.status_code == 200
    assert set(answer.json()["bindings"].values()) == {"ok"}
    assert {"AI", "RLM_SESSIONS", "RLM_CONTEXT_STORAGE", "RLM_CACHE", "RLM_ANALYTICS"} <= answer.json()[
        "bindings"
    ].keys()
    assert len(scripted.calls) == 1


def test_deep_health_names_the_broken(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(5016)]
    answer = http.get("/health?deep=1")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["AI"]
    assert "5016" in answer.json()["bindings"]["AI"]


def test_health_takes_get_only(http: httpx.Client) -> None:
    assert http.post("/health").status_code == 405
