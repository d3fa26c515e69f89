"""The platform's limits, each tripped in the real workerd: those that our front keeps, and those that workerd keeps."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from scripts.local.platform.switches import KEPT, SWITCHES
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel

pytestmark = pytest.mark.worker

FRONT = Path(__file__).with_name("probing_entry.py")
MIB = 1024 * 1024
SUBREQUESTS = 120
ERRORS = {switch.variable: switch.error for switch in SWITCHES}


class SlowServer:
    """Answers each request after a while, and knows how many it had at once."""

    def __init__(self) -> None:
        self.peak = self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with outer._lock:
                    outer._now += 1
                    outer.peak = max(outer.peak, outer._now)
                time.sleep(0.3)
                with outer._lock:
                    outer._now -= 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> SlowServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    with SlowServer() as server:
        yield server


class Probe:
    """Tries things in a deployment."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, where: str, name: str, /, **arguments: object) -> object:
        """What a probe gives; fails with what it met."""
        answer = self._tried(where, name, arguments)
        assert "error" not in answer, answer
        return answer["value"]

    def error(self, where: str, name: str, /, **arguments: object) -> str:
        """What the platform says to it."""
        return str(self._tried(where, name, arguments).get("error", "nothing was refused"))

    def _tried(self, where: str, name: str, arguments: dict[str, object]) -> dict[str, object]:
        answer: dict[str, object] = httpx.post(f"{self._url}/probe/{where}/{name}", json=arguments, timeout=120).json()
        return answer


def _deployed(folder: Path, ai: str, **variables: str) -> DevProcess:
    return DevProcess(folder, ai=ai, variables=variables, front=FRONT)


@pytest.fixture(scope="module")
def strict(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    variables = {"RLM_STRICT_SUBREQUESTS": str(SUBREQUESTS), "RLM_STRICT_ALARM_SECONDS": "1"}
    with _deployed(tmp_path_factory.mktemp("strict"), scripted_server.url, **variables) as process:
        yield process


@pytest.fixture(scope="module")
def sharing(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """Where everything holds connections that might."""
    variables = {"RLM_STRICT_AI_CONNECTIONS": "1", "RLM_STRICT_STUB_CONNECTIONS": "1"}
    with _deployed(tmp_path_factory.mktemp("sharing"), scripted_server.url, **variables) as process:
        yield process


@pytest.fixture
def probe(strict: DevProcess) -> Probe:
    return Probe(strict.url)


# Storage.


def test_large_rows_are_refused(probe: Probe) -> None:
    error = ERRORS["RLM_STRICT_ROW_BYTES"]
    probe("object", "insert", size=1_999_000)
    probe("object", "insert", size=1_100_000, rows=2)
    probe("object", "put", size=1_999_000)
    assert error in probe.error("object", "insert", size=2_000_001)
    assert error in probe.error("object", "insert", size=700_000, text="語")
    assert error in probe.error("object", "update", size=2_000_001)
    assert error in probe.error("object", "put", size=2_000_001)


def test_long_statements_are_refused(probe: Probe) -> None:
    probe("object", "select", size=99_000)
    assert "SQLITE_TOOBIG" in probe.error("object", "select", size=101_000)


def test_many_values_are_refused(probe: Probe) -> None:
    probe("object", "select", values=100)
    assert "too many SQL variables" in probe.error("object", "select", values=101)


def test_long_patterns_are_refused(probe: Probe) -> None:
    probe("object", "select", pattern=50)
    assert "too complex" in probe.error("object", "select", pattern=51)


# Calls.


def test_large_messages_are_refused(probe: Probe) -> None:
    assert probe("worker", "message", size=31 * MIB) == 31 * MIB
    assert "limited to 32MiB" in probe.error("worker", "message", size=33 * MIB)


def test_subrequests_are_counted(probe: Probe) -> None:
    error = ERRORS["RLM_STRICT_SUBREQUESTS"]
    for where in ("worker", "object"):
        assert probe(where, "gets", count=SUBREQUESTS - 1) == SUBREQUESTS - 1
        assert error in probe.error(where, "gets", count=SUBREQUESTS + 1)


def test_seventh_connection_waits(probe: Probe, slow: SlowServer) -> None:
    assert probe("worker", "fetches", url=slow.url, count=20) == 20
    assert slow.peak == 6
    for where in ("worker", "object"):
        for quick in ("kv", "r2", "queue"):
            ended = probe(where, "order", url=slow.url, then=quick)
            assert ended != [quick, *["slow"] * 6]


def test_objects_share_connections(probe: Probe, slow: SlowServer) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: probe("object", "fetches", url=slow.url, count=6), range(3)))
    assert slow.peak == 6


def test_stubs_hold_no_connection(probe: Probe, slow: SlowServer) -> None:
    assert probe("worker", "order", url=slow.url, then="stub") == ["stub", *["slow"] * 6]


def test_stubs_may_share_connections(sharing: DevProcess, slow: SlowServer) -> None:
    assert Probe(sharing.url)("worker", "order", url=slow.url, then="stub") != ["stub", *["slow"] * 6]


@pytest.mark.parametrize(("deployment", "most"), [("sharing", 6), ("strict", 24)])
def test_models_may_share_connections(
    deployment: str, most: int, request: pytest.FixtureRequest, scripted: ScriptedModel
) -> None:
    process: DevProcess = request.getfixturevalue(deployment)
    scripted.latency = 0.3
    body = {
        "context": "".join(f"{deployment} {line}: the grass is green, the sky is blue.\n" for line in range(7_000)),
        "query": "What colour is the sky?",
        "config": {"chunkSize": 10_000, "strategy": "map_reduce", "useCache": False},
    }
    answer = httpx.post(f"{process.url}/rlm", json=body, timeout=120).json()
    assert answer["coverage"] == 1.0, answer.get("error") or answer["warnings"]
    assert scripted.peak <= most
    assert scripted.peak > 6 or most == 6


# Services.


def test_quick_rewrites_are_refused(probe: Probe) -> None:
    assert ERRORS["RLM_STRICT_KV_SECONDS"] in probe.error("worker", "write", times=2)
    assert "KV DELETE failed: 429 Too Many Requests" in probe.error("worker", "rewrite_and_delete")
    probe("worker", "write", times=2, pause=1.1)


def test_long_keys_are_refused(probe: Probe) -> None:
    probe("worker", "write", key="k" * 512)
    assert "414" in probe.error("worker", "write", key="k" * 513)


def test_large_values_are_refused(probe: Probe) -> None:
    probe("worker", "write", size=25 * MIB)
    assert "413" in probe.error("worker", "write", size=25 * MIB + 1)


def test_short_ttls_are_refused(probe: Probe) -> None:
    probe("worker", "write", seconds=60)
    assert "400" in probe.error("worker", "write", seconds=59)


def test_large_deletions_are_refused(probe: Probe) -> None:
    probe("worker", "delete_objects", count=1_000)
    assert ERRORS["RLM_STRICT_DELETE_KEYS"] in probe.error("worker", "delete_objects", count=1_001)


def test_unknown_lengths_are_refused(probe: Probe) -> None:
    assert "known length" in probe.error("worker", "put_stream")


def test_small_parts_are_refused(probe: Probe) -> None:
    probe("worker", "upload", sizes=[5 * MIB, 5 * MIB, 1])
    assert "10011" in probe.error("worker", "upload", sizes=[5 * MIB - 1, 5 * MIB - 1, 1])


def test_unequal_parts_are_refused(probe: Probe) -> None:
    assert "10048" in probe.error("worker", "upload", sizes=[5 * MIB, 6 * MIB, 1])


def test_large_queue_messages_are_refused(probe: Probe) -> None:
    probe("worker", "send", size=127_000)
    assert "(15000)" in probe.error("worker", "send", size=129_000)


def test_long_batches_are_refused(probe: Probe) -> None:
    probe("worker", "send_batch", count=100)
    assert "(15000)" in probe.error("worker", "send_batch", count=101)


def test_large_batches_are_refused(probe: Probe) -> None:
    probe("worker", "send_batch", count=2, size=127_000)
    assert ERRORS["RLM_STRICT_BATCH_BYTES"] in probe.error("worker", "send_batch", count=3, size=90_000)


def test_data_points_are_counted(probe: Probe) -> None:
    probe("worker", "points", count=250)
    assert ERRORS["RLM_STRICT_POINTS"] in probe.error("worker", "points", count=251)


def test_large_blobs_are_refused(probe: Probe) -> None:
    probe("worker", "points", blob=16_000)
    assert ERRORS["RLM_STRICT_BLOB_BYTES"] in probe.error("worker", "points", blob=16_001)


def test_long_indexes_are_refused(probe: Probe) -> None:
    probe("worker", "points", index=96)
    assert ERRORS["RLM_STRICT_INDEX_BYTES"] in probe.error("worker", "points", index=97)


# Dynamic Workers.


def test_sandboxes_of_request_are_counted(probe: Probe) -> None:
    assert probe("worker", "sandboxes", count=4) == 4
    assert probe("worker", "sandboxes", count=8, same=True) == 8
    assert ERRORS["RLM_STRICT_SANDBOXES"] in probe.error("worker", "sandboxes", count=5)


def test_sandboxes_of_object_are_counted(probe: Probe) -> None:
    assert probe("object", "sandboxes", count=10) == 10
    assert ERRORS["RLM_STRICT_OBJECT_SANDBOXES"] in probe.error("object", "sandboxes", count=11)


# Alarms.


def test_long_alarms_are_cut(strict: DevProcess, probe: Probe) -> None:
    probe("object", "set_alarm", seconds=0)
    with httpx.Client(base_url=strict.url, timeout=60) as http:
        under_way = http.post("/probe/object/sleep", json={"seconds": 30})
    assert under_way.status_code == 500, under_way.text  # the object is reset, and all that it had in hand is lost
    deadline = time.monotonic() + 30
    while len(lives := _lives(probe)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert len(set(lives)) == len(lives), "tried again in the same life"


def _lives(probe: Probe) -> list[str]:
    lives = probe("object", "alarms")
    assert isinstance(lives, list)
    return lives


def test_off_means_off(scripted_server: ScriptedModel, tmp_path: Path) -> None:
    with _deployed(tmp_path, scripted_server.url, RLM_STRICT="0") as process:
        Probe(process.url)("worker", "write", times=2)
        assert httpx.get(f"{process.url}/health").status_code == 200


# The list.


def test_every_switch_is_tripped() -> None:
    written = Path(__file__).read_text(encoding="utf-8")
    tests = set(re.findall(r"def (test_\w+)", written))
    assert {entry.test for entry in (*SWITCHES, *KEPT)} <= tests
