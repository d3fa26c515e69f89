"""A Worker's HTTP surface on a real socket, with faults on order: it proves the client, not the Worker."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.client.played import (
    FAILED_ATTEMPTS,
    HEALTHY,
    MODELS,
    SANDBOXES,
    TRAJECTORY,
    played,
    previewed,
    retried,
    run_result,
)

KEY = "rlm-test-key-0123456789"
NEVER = 1_000_000


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Fault:
    """An answer that the next request gets instead of its own; status 0 drops the connection."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


DROP = Fault(0)


def error_fault(status: int, kind: str = "some_type", *, detail: object = None, **headers: str) -> Fault:
    error = {"type": kind, "message": f"refused with {status}", **({"detail": detail} if detail else {})}
    body = json.dumps({"success": False, "error": error}).encode()
    return Fault(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Session:
    """A run that is played event by event: the client sees as many as `visible`."""

    id: str
    events: list[tuple[str, object]]
    result: dict[str, object]
    visible: int = NEVER
    cancelled: bool = False

    @property
    def running(self) -> bool:
        return self.visible < len(self.events)

    def status(self) -> dict[str, object]:
        calls = [data for kind, data in self.events[: self.visible] if kind == "subcall"]
        return {
            "sessionId": self.id,
            "status": "running" if self.running else "completed",
            "phase": "map",
            "strategy": "map_reduce",
            "chunksDone": len(calls),
            "chunks": 4,
            "subCalls": len(calls),
            "costUsd": 0.0001 * len(calls),
            "startedAt": "2026-10-01T12:00:00Z",
            "updatedAt": "2026-10-01T12:00:09Z",
        }


def _strategy(body: Mapping[str, object]) -> object:
    config = body.get("config")
    return config.get("strategy") if isinstance(config, Mapping) else None


class FakeWorker:
    """The state behind the socket; tests order faults in and read what arrived."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.faults: deque[Fault] = deque()
        self.cuts: deque[int] = deque()
        """For each event stream to come: after how many events its connection breaks."""
        self.sessions: dict[str, Session] = {}
        self.contexts: dict[str, bytes] = {}
        self.batches: dict[str, list[dict[str, object]]] = {}
        self.keys: dict[str, str] = {}
        self.next_visible = NEVER
        """How many events of the next runs happen before they stand still."""
        self.health: tuple[int, dict[str, object]] = (200, dict(HEALTHY))
        self.failure: dict[str, object] | None = None
        self.answers_twice = False
        """Whether the next runs break off their first answer and begin a second."""
        self.batch_stands = False
        self.changed = threading.Condition()

    def begin(self, body: Mapping[str, object], given: str | None) -> Session:
        key = given or json.dumps([body.get(part) for part in ("context", "contextId", "query", "config")])
        if key in self.keys:
            return self.sessions[self.keys[key]]
        session_id = f"s{len(self.sessions) + 1}"
        query = str(body.get("query"))
        session = Session(session_id, played(session_id, query, _strategy(body)), run_result(session_id, query))
        session.visible = self.next_visible
        if self.answers_twice:
            session.events = retried(session.events)
        if self.failure is not None:
            session.events[-1] = ("error", {"success": False, "error": self.failure, "sessionId": session_id})
        self.sessions[session_id] = session
        self.keys[key] = session_id
        return session

    def release(self, session_id: str, visible: int = NEVER) -> None:
        """Let a run that stands still go on: to its end, or until so many events have happened."""
        with self.changed:
            self.sessions[session_id].visible = visible
            self.changed.notify_all()

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.received]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; the second must not wait until the first is acknowledged.
    disable_nagle_algorithm = True
    server: FakeServer

    def setup(self) -> None:
        # A connection that outlives its test stays with that test's state.
        self.worker = self.server.worker
        super().setup()

    def log_message(self, *args: object) -> None:
        """Say nothing on standard error."""

    def _serve(self) -> None:
        request = Received(self.command, self.path, dict(self.headers.items()), self._body())
        self.worker.received.append(request)
        if self.worker.faults:
            self._fault(self.worker.faults.popleft())
        elif urlsplit(self.path).path != "/health" and self.headers.get("authorization") != f"Bearer {KEY}":
            self._fault(error_fault(401, "unauthenticated", X_Request_Id="req-401"))
        else:
            self._answer(request)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - what http.server calls

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _fault(self, fault: Fault) -> None:
        if fault.status == 0:
            self._drop()
        else:
            self._send(fault.status, fault.body, fault.headers)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, value: object, status: int = 200, **headers: str) -> None:
        self._send(status, json.dumps(value).encode(), headers)

    def _answer(self, request: Received) -> None:
        match [request.method, *urlsplit(request.path).path.strip("/").split("/")]:
            case ["GET", "health"]:
                self._json(self.worker.health[1], self.worker.health[0])
            case ["GET", "v1", "models"]:
                self._json({"object": "list", "data": MODELS})
            case ["PUT", "contexts"]:
                self._store(request.body)
            case ["POST", "rlm"]:
                self._run(request)
            case ["POST", "rlm", "routing"]:
                config = request.json().get("config")
                self._json(previewed(config if isinstance(config, dict) else {}))
            case ["POST", "rlm", "batch"]:
                self._batch(request)
            case [method, "rlm", "batch", batch_id, *rest] if batch_id in self.worker.batches:
                self._batch_part(method, batch_id, rest)
            case [method, "session", session_id, *rest] if session_id in self.worker.sessions:
                self._session(method, self.worker.sessions[session_id], rest, request)
            case _:
                self._fault(error_fault(404, "not_found"))

    def _store(self, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        context_id = f"ctx_{digest[:32]}"
        self.worker.contexts[context_id] = body
        self._json({"contextId": context_id, "characters": len(body.decode()), "bytes": len(body), "sha256": digest})

    def _run(self, request: Received) -> None:
        body = request.json()
        session = self.worker.begin(body, request.headers.get("Idempotency-Key"))
        if body.get("background"):
            started = {"success": True, "sessionId": session.id, "status": "running"}
            self._json(started, 202, Location=f"/session/{session.id}/status")
        elif body.get("stream"):
            self._stream(session, 0)
        elif self.worker.failure is not None:
            failed = {**session.result, "success": False, "answer": None, "error": self.worker.failure}
            self._json(failed, 502)
        else:
            self._json(session.result)

    def _session(self, method: str, session: Session, rest: list[str], request: Received) -> None:
        match [method, *rest]:
            case ["GET", "status"]:
                self._json(session.status())
            case ["GET", "result"] if session.running:
                self._json(session.status(), 202)
            case ["GET", "result"]:
                self._json(session.result)
            case ["GET", "events"]:
                self._stream(session, int(request.headers.get("Last-Event-ID", "0")))
            case ["GET", "trajectory"]:
                paid = {"calls": TRAJECTORY, "failedAttempts": FAILED_ATTEMPTS, "sandboxes": SANDBOXES}
                self._json({"sessionId": session.id, **paid})
            case ["DELETE"]:
                self._cancel(session)

    def _cancel(self, session: Session) -> None:
        with self.worker.changed:
            session.cancelled = True
            del self.worker.sessions[session.id]
            self.worker.changed.notify_all()
        self._json({"success": True, "sessionId": session.id, "status": "cancelled"})

    def _stream(self, session: Session, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut = self.worker.cuts.popleft() if self.worker.cuts else NEVER
        for sent, number in enumerate(range(after, len(session.events))):
            if sent == cut or not self._await_event(session, number):
                self._drop()
                return
            self._piece(b": heartbeat\n\n" + _frame(number + 1, *session.events[number]))
        self._piece(b"")

    def _await_event(self, session: Session, number: int) -> bool:
        with self.worker.changed:
            self.worker.changed.wait_for(lambda: number < session.visible or session.cancelled, timeout=30)
        return number < session.visible

    def _piece(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _batch(self, request: Received) -> None:
        items = json.loads(request.body)
        batch_id = f"b{len(self.worker.batches) + 1}"
        self.worker.batches[batch_id] = items
        self._json({"batchId": batch_id, "total": len(items)}, 202)

    def _batch_part(self, method: str, batch_id: str, rest: list[str]) -> None:
        items = self.worker.batches[batch_id]
        match [method, *rest]:
            case ["GET"]:
                done = 0 if self.worker.batch_stands else len(items)
                counts = {"total": len(items), "completed": done, "failed": 0, "costUsd": 0.0009 * done}
                self._json({"batchId": batch_id, **counts})
            case ["GET", "results"]:
                rows = [{"index": n, **run_result(f"s{n}", str(item["query"]))} for n, item in enumerate(items)]
                self._send(200, b"".join(json.dumps(row).encode() + b"\n" for row in rows), {})
            case ["DELETE"]:
                del self.worker.batches[batch_id]
                self._json({"success": True, "batchId": batch_id})


def _frame(number: int, kind: str, data: object) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class FakeServer(ThreadingHTTPServer):
    """Serves fake Workers on one free loopback port, one after the other."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.worker = self.fresh()

    def fresh(self) -> FakeWorker:
        """Return a Worker without a past, which gets all connections from now on."""
        self.worker = FakeWorker(f"http://127.0.0.1:{self.server_address[1]}")
        return self.worker

    def handle_error(self, *args: object) -> None:
        """Say nothing: a client that leaves is what some tests are about."""


@contextmanager
def serving() -> Iterator[FakeServer]:
    """Serve until the block ends."""
    with FakeServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
