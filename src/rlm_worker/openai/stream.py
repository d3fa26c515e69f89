"""The events of a session as the chunks of a chat completion."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel

from rlm_worker.errors import RLMError
from rlm_worker.runs.job import Job
from rlm_worker.sessions.told import ToldAnswer
from rlm_worker.wire.results import ErrorBody, RunResult

from .chat import FINGERPRINT, annotated, completion_id, finish_reason, model_name, numbers, usage
from .errors import openai_error
from .schemas import ChatCompletionChunk, ChunkChoice, Delta, Usage

_DONE = "data: [DONE]\n\n"


class ChatHead(BaseModel):
    """What all chunks of one stream share, and whether its last one tells the usage."""

    id: str
    created: int
    model: str
    include_usage: bool

    @classmethod
    def of(cls, job: Job, created: int, *, include_usage: bool) -> ChatHead:
        return cls(id=completion_id(job), created=created, model=model_name(job), include_usage=include_usage)


class ChatStream:
    """Translates one session's events, in their order, into server-sent chunks."""

    def __init__(self, head: ChatHead) -> None:
        self._head = head
        self._told = ToldAnswer()

    def translate(self, kind: str, data: Mapping[str, object]) -> str:
        """The chunks that an event becomes; empty where it has nothing to say in this form."""
        if kind == "session":
            return self._delta(Delta(role="assistant", content=""))
        if kind == "answer":
            news = self._told.news(data)
            return self._delta(Delta(content=news)) if news else ""
        if kind == "result":
            return self._ended(RunResult.model_validate(data))
        return self._failed(data) if kind == "error" else ""

    def _ended(self, result: RunResult) -> str:
        rest = self._told.rest(result.answer or "")
        cited = Delta(annotations=annotated(result) or None)
        last = self._chunk([ChunkChoice(delta=cited, finish_reason=finish_reason(result))], result=result)
        counted = self._chunk([], used=usage(result)) if self._head.include_usage else ""
        return (self._delta(Delta(content=rest)) if rest else "") + last + counted + _DONE

    def _failed(self, data: Mapping[str, object]) -> str:
        return stream_error(ErrorBody.model_validate(data.get("error")).to_error())

    def _delta(self, delta: Delta) -> str:
        return self._chunk([ChunkChoice(delta=delta)])

    def _chunk(self, choices: list[ChunkChoice], *, used: Usage | None = None, result: RunResult | None = None) -> str:
        head = self._head
        chunk = ChatCompletionChunk(
            id=head.id,
            created=head.created,
            model=head.model,
            choices=choices,
            usage=used,
            system_fingerprint=FINGERPRINT,
            rlm=numbers(result) if result else None,
        )
        return f"data: {json.dumps(_present(chunk), ensure_ascii=False)}\n\n"


def _present(chunk: ChatCompletionChunk) -> dict[str, object]:
    """A chunk without the fields that only some chunks have; OpenAI's other nulls stay."""
    fields = chunk.model_dump()
    for choice in fields["choices"]:
        choice["delta"] = {name: value for name, value in choice["delta"].items() if value is not None}
    return {name: value for name, value in fields.items() if value is not None or name not in ("usage", "rlm")}


def whole_stream(head: ChatHead, result: RunResult) -> str:
    """The stream of a run that had ended before anyone could follow it."""
    stream = ChatStream(head)
    kind = "result" if result.success else "error"
    return stream.translate("session", {}) + stream.translate(kind, result.to_wire())


def stream_error(error: RLMError) -> str:
    """The last event of a stream that fails."""
    return f"data: {openai_error(error, 500).model_dump_json()}\n\n"
