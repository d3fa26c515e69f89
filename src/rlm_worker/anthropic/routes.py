"""`/v1/messages`: what Anthropic's clients call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rlm_worker.errors import InvalidRequest
from rlm_worker.http import Call, Handler, HttpResponse, announced_bytes, event_stream, read_json
from rlm_worker.json_scan import Bytes
from rlm_worker.memory import Held
from rlm_worker.openai.errors import named_as_sent
from rlm_worker.openai.routes import MAX_CHAT_BYTES
from rlm_worker.runs.job import Job
from rlm_worker.sessions.bodies import WHOLE_FACTOR
from rlm_worker.sessions.runner import Runner
from rlm_worker.wire.results import ErrorBody, RunResult

from .messages import cited_documents, counted, message, run_request
from .schemas import CountedTokens, parse_count, parse_messages
from .stream import MessageHead, whole_stream

_SCHEMA = "output_config.format.schema"


@dataclass(frozen=True, slots=True)
class AnthropicRoutes:
    """Handlers over the runner of the Worker's own routes; each is named as its operation."""

    runner: Runner

    def handlers(self) -> Mapping[str, Handler]:
        """By the names of their operations."""
        return {"createMessage": self.create, "countTokens": self.count}

    async def create(self, call: Call) -> HttpResponse:
        settings = self.runner.settings
        held = await self._room(call)
        try:
            sent = parse_messages(await self._body(call, held))
            documents = cited_documents(sent)
            wanted, streams = run_request(sent, settings.defaults, settings.catalog), sent.stream
            del sent  # what is long in it is not kept while the run goes on
            key = call.request.headers.get("idempotency-key")
            asking = self.runner.ask(wanted, call.owner, key, call.record, held=held)
            del wanted
            job, result = await asking
        except InvalidRequest as error:
            raise named_as_sent(error, _SCHEMA) from None
        finally:
            held.close()
        if streams:
            return await self._streamed(job, result, documents)
        assert result is not None
        if not result.success:
            body = result.error or ErrorBody(type="internal_error", message="the run brought no answer")
            raise body.to_error()
        return HttpResponse.of_json_text(200, message(result, job, documents).model_dump_json())

    async def count(self, call: Call) -> HttpResponse:
        held = await self._room(call)
        try:
            sent = parse_count(await self._body(call, held))
            return HttpResponse.of_json_text(200, CountedTokens(input_tokens=counted(sent)).model_dump_json())
        finally:
            held.close()

    def _limit(self) -> int:
        return min(self.runner.settings.max_body_bytes, MAX_CHAT_BYTES)

    async def _room(self, call: Call) -> Held:
        """Room for a body that is built as a whole, which takes several times its bytes."""
        limit = self._limit()
        return await self.runner.room.take(WHOLE_FACTOR * min(limit, announced_bytes(call.request.headers, limit)))

    async def _body(self, call: Call, held: Held) -> Bytes:
        request = replace(call.request, body=held.kept(call.request.body))
        return await read_json(request, self._limit(), self.runner.settings.body_idle_seconds)

    async def _streamed(self, job: Job, result: RunResult | None, documents: int | None) -> HttpResponse:
        head = MessageHead.of(job, documents)
        if result is not None:
            return event_stream(whole_stream(head, result).encode())
        sessions = self.runner.sessions
        return event_stream(await sessions.stream(job.session_id, "message", job.owner, head.model_dump_json()))
