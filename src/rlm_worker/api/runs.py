"""The Worker's own routes: runs, their sessions, stored contexts, health."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from rlm_worker import __version__
from rlm_worker.errors import FieldProblem, InvalidRequest
from rlm_worker.http import (
    NDJSON,
    Call,
    Handler,
    HttpRequest,
    HttpResponse,
    announced_bytes,
    are_lines,
    event_stream,
    in_time,
    read_json,
    require_text,
)
from rlm_worker.report.rows import FORMS
from rlm_worker.report.style import report_headers
from rlm_worker.sessions.bodies import needed_bytes, read_run
from rlm_worker.sessions.contexts import checked_name, delete_context, oldest_kept, stored_context_key
from rlm_worker.sessions.runner import Runner
from rlm_worker.sessions.uploads import Upload, UploadLimits, store_context
from rlm_worker.sessions.uploads import needed_bytes as room_for_upload
from rlm_worker.settings import public_limits
from rlm_worker.wire.requests import RunRequest
from rlm_worker.wire.results import Health, RunResult

from .auth import Gate
from .openapi import openapi_json
from .responses import accepted_response, result_response, result_stream

_EVENT_ID = re.compile(r"^[0-9]{1,15}$")


class Probes(Protocol):
    """Exercises each binding; gives what is wrong with it, None where nothing is."""

    async def check(self) -> Mapping[str, str | None]: ...


@dataclass(frozen=True, slots=True)
class RunRoutes:
    """Handlers over a runner; each is named as its operation."""

    runner: Runner
    gate: Gate
    probes: Probes

    def handlers(self) -> Mapping[str, Handler]:
        """By the names of their operations."""
        return {
            "run": self.run,
            "sessionStatus": self.status,
            "sessionResult": self.result,
            "sessionEvents": self.events,
            "sessionTrajectory": self.trajectory,
            "sessionReport": self.report,
            "sessionRows": self.rows,
            "deleteSession": self.delete_session,
            "storeContext": self.store_context,
            "deleteContext": self.delete_context,
            "health": self.health,
            "openapi": self.openapi,
        }

    async def run(self, call: Call) -> HttpResponse:
        settings = self.runner.settings
        limit = settings.max_body_bytes
        held = await self.runner.room.take(needed_bytes(min(limit, announced_bytes(call.request.headers, limit))))
        try:
            request = replace(call.request, body=held.kept(call.request.body))
            body = await read_json(request, limit, settings.body_idle_seconds)
            wanted, texts = read_run(body, settings.defaults, max_documents=settings.max_documents)
            del body
            wanted = _as_asked(call.request, wanted)
            streams, background = wanted.stream, wanted.background
            key = call.request.headers.get("idempotency-key")
            asking = self.runner.ask(wanted, call.owner, key, call.record, texts=texts, held=held)
            del wanted
            job, result = await asking
        finally:
            held.close()
        if result is not None:
            return result_stream(result) if streams else result_response(result)
        if background:
            return accepted_response(job.session_id)
        return event_stream(await self.runner.sessions.stream(job.session_id, "events", job.owner, 0))

    async def status(self, call: Call) -> HttpResponse:
        return HttpResponse.of_json(200, await self._ask_session(call, "status"))

    async def result(self, call: Call) -> HttpResponse:
        found = await self._ask_session(call, "result")
        if found is None:
            return accepted_response(call.parameters["id"])
        return result_response(RunResult.model_validate(found))

    async def events(self, call: Call) -> HttpResponse:
        call.record.session_id = call.parameters["id"]
        last = call.request.headers.get("last-event-id", call.request.query.get("after", "0"))
        if not _EVENT_ID.match(last):
            raise InvalidRequest([FieldProblem("Last-Event-ID", "must be the id of an event")])
        stream = await self.runner.sessions.stream(call.parameters["id"], "events", call.owner, int(last))
        return event_stream(stream)

    async def trajectory(self, call: Call) -> HttpResponse:
        session_id = call.record.session_id = call.parameters["id"]
        lines = NDJSON in call.request.headers.get("accept", "")
        stream = await self.runner.sessions.stream(session_id, "trajectory", call.owner, lines)
        return HttpResponse(200, stream, {"content-type": f"{NDJSON}; charset=utf-8" if lines else "application/json"})

    async def report(self, call: Call) -> HttpResponse:
        session_id = call.record.session_id = call.parameters["id"]
        stream = await self.runner.sessions.stream(session_id, "report", call.owner)
        return accepted_response(session_id) if stream is None else HttpResponse(200, stream, report_headers())

    async def rows(self, call: Call) -> HttpResponse:
        session_id = call.record.session_id = call.parameters["id"]
        form = call.request.query.get("format", FORMS[0])
        if form not in FORMS:
            raise InvalidRequest.at("format", f"must be one of {', '.join(FORMS)}")
        table = call.request.query.get("table", "")
        stream = await self.runner.sessions.stream(session_id, "rows", call.owner, table, form)
        kind = f"{NDJSON}; charset=utf-8" if form == "ndjson" else "text/csv; charset=utf-8; header=present"
        return accepted_response(session_id) if stream is None else HttpResponse(200, stream, {"content-type": kind})

    async def delete_session(self, call: Call) -> HttpResponse:
        await self._ask_session(call, "remove")
        return HttpResponse(204, b"")

    async def store_context(self, call: Call) -> HttpResponse:
        settings, runner = self.runner.settings, self.runner
        lines = are_lines(call.request.headers)
        if not lines:
            require_text(call.request.headers)
        name = checked_name(call.request.query.get("name"))
        size = announced_bytes(call.request.headers, settings.max_context_bytes)
        held = await runner.room.take(room_for_upload(size, lines=lines))
        try:
            body = in_time(call.request.body, settings.body_idle_seconds)
            limits = UploadLimits(settings.max_context_bytes, settings.max_documents)
            upload = Upload(held.kept(body), limits, name)
            stored = await store_context(upload, call.owner, runner.store, runner.clock, lines=lines)
        finally:
            held.close()
        return HttpResponse.of_json_text(201, stored.to_json())

    async def delete_context(self, call: Call) -> HttpResponse:
        kept_since = oldest_kept(self.runner.settings, self.runner.clock.now())
        key = stored_context_key(call.owner, call.parameters["id"])
        await delete_context(key, self.runner.store, kept_since=kept_since)
        return HttpResponse(204, b"")

    async def health(self, call: Call) -> HttpResponse:
        known = Health(version=__version__)
        if call.owner:
            limits = public_limits(self.runner.settings, call.owner)
            known = known.model_copy(update={"limits": limits, "account": await self.gate.account(call.owner)})
        if call.request.query.get("deep") in ("1", "true"):
            await self.gate.paying_owner(call.request, call.record)  # probes cost money, and what they say is for ops
            known = _examined(known, await self.probes.check())
        # Within its parts null means that there is no such limit.
        shown = {name: value for name, value in known.model_dump(by_alias=True).items() if value is not None}
        return HttpResponse.of_json(503 if known.failing else 200, shown)

    async def openapi(self, _: Call) -> HttpResponse:
        return HttpResponse.of_json_text(200, openapi_json())

    async def _ask_session(self, call: Call, method: str) -> object:
        session_id = call.parameters["id"]
        call.record.session_id = session_id
        return await self.runner.sessions.call(session_id, method, call.owner)


def _examined(health: Health, checks: Mapping[str, str | None]) -> Health:
    """What the probes of the bindings have found."""
    failing = sorted(name for name, problem in checks.items() if problem)
    bindings = {name: problem or "ok" for name, problem in checks.items()}
    found: dict[str, object] = {"bindings": bindings}
    if failing:
        found |= {"status": "failing", "failing": failing}
    return health.model_copy(update=found)


def _as_asked(request: HttpRequest, wanted: RunRequest) -> RunRequest:
    """A caller may ask for events by header too."""
    if "text/event-stream" in request.headers.get("accept", ""):
        return wanted.model_copy(update={"stream": True})
    return wanted
