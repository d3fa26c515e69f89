"""`/v1`: what OpenAI's clients call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rlm_worker.errors import InvalidRequest
from rlm_worker.http import Call, Handler, HttpResponse, announced_bytes, event_stream, read_json
from rlm_worker.memory import MIB
from rlm_worker.runs.job import Job
from rlm_worker.sessions.bodies import WHOLE_FACTOR
from rlm_worker.sessions.runner import Runner
from rlm_worker.wire.results import ErrorBody, RunResult

from .chat import completion, run_request
from .errors import named_as_sent
from .models import model_entry, model_list
from .schemas import ChatRequest, parse_chat
from .stream import ChatHead, whole_stream

# A conversation is built as a whole, which takes several times its bytes; a longer text is put, and asked about by id.
MAX_CHAT_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class OpenAIRoutes:
    """Handlers over the runner of the Worker's own routes; each is named as its operation."""

    runner: Runner

    def handlers(self) -> Mapping[str, Handler]:
        """By the names of their operations."""
        return {"chatCompletion": self.chat, "listModels": self.models, "getModel": self.model}

    async def chat(self, call: Call) -> HttpResponse:
        settings = self.runner.settings
        limit = min(settings.max_body_bytes, MAX_CHAT_BYTES)
        held = await self.runner.room.take(WHOLE_FACTOR * min(limit, announced_bytes(call.request.headers, limit)))
        try:
            request = replace(call.request, body=held.kept(call.request.body))
            chat = parse_chat(await read_json(request, limit, settings.body_idle_seconds))
            wanted = run_request(chat, settings.defaults, settings.catalog)
            chat = chat.model_copy(update={"messages": []})  # what is long in it is not kept while the run goes on
            key = call.request.headers.get("idempotency-key")
            asking = self.runner.ask(wanted, call.owner, key, call.record, held=held)
            del wanted
            job, result = await asking
        except InvalidRequest as error:
            raise named_as_sent(error) from None
        finally:
            held.close()
        created = int(self.runner.clock.now())
        if chat.stream:
            return await self._streamed(chat, job, result, created)
        assert result is not None
        if not result.success:
            body = result.error or ErrorBody(type="internal_error", message="the run brought no answer")
            raise body.to_error()
        return HttpResponse.of_json_text(200, completion(result, job, created).model_dump_json())

    async def models(self, _: Call) -> HttpResponse:
        return HttpResponse.of_json_text(200, model_list(self.runner.settings.catalog).model_dump_json())

    async def model(self, call: Call) -> HttpResponse:
        settings = self.runner.settings
        found = model_entry(call.parameters["id"], settings.catalog, settings.defaults)
        return HttpResponse.of_json_text(200, found.model_dump_json())

    async def _streamed(self, chat: ChatRequest, job: Job, result: RunResult | None, created: int) -> HttpResponse:
        wants_usage = chat.stream_options is not None and chat.stream_options.include_usage
        head = ChatHead.of(job, created, include_usage=wants_usage)
        if result is not None:
            return event_stream(whole_stream(head, result).encode())
        sessions = self.runner.sessions
        return event_stream(await sessions.stream(job.session_id, "chat", job.owner, head.model_dump_json()))
