"""The events of a session as those of a message that streams.

Where documents are cited the text waits for the run's end: a citation belongs to its part of the text, and which parts
there are is known only then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from rlm_worker.errors import error_class
from rlm_worker.openai.chat import model_name
from rlm_worker.runs.job import Job
from rlm_worker.sessions.told import ToldAnswer
from rlm_worker.wire.results import ErrorBody, RunResult

from .errors import anthropic_error
from .messages import answer_blocks, message_id, numbers, stop_reason, usage
from .schemas import AnswerBlock

_BEGUN: Mapping[str, int] = {"input_tokens": 0, "output_tokens": 0}


class MessageHead(BaseModel):
    """What a stream's first event says, and how many documents may be cited; None where none may."""

    id: str
    model: str
    documents: int | None

    @classmethod
    def of(cls, job: Job, documents: int | None) -> MessageHead:
        return cls(id=message_id(job.session_id), model=model_name(job), documents=documents)


class MessageStream:
    """Translates one session's events, in their order, into those of a message."""

    def __init__(self, head: MessageHead) -> None:
        self._head = head
        self._told = ToldAnswer()
        self._open = False

    def translate(self, kind: str, data: Mapping[str, object]) -> str:
        """What an event becomes; empty where it has nothing to say in this form."""
        if kind == "session":
            return self._begun()
        if kind == "answer":
            return self._text(self._told.news(data)) if self._head.documents is None else ""
        if kind == "result":
            return self._ended(RunResult.model_validate(data))
        return _failed(data) if kind == "error" else ""

    def _begun(self) -> str:
        started: dict[str, object] = {
            "id": self._head.id,
            "type": "message",
            "role": "assistant",
            "model": self._head.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _BEGUN,
        }
        return _event("message_start", message=started) + _event("ping")

    def _text(self, news: str) -> str:
        if not news:
            return ""
        opening = "" if self._open else _opened(0, None)
        self._open = True
        return opening + _piece(0, news)

    def _ended(self, result: RunResult) -> str:
        return (
            self._parts(result)
            + _event(
                "message_delta",
                delta={"stop_reason": stop_reason(result), "stop_sequence": None},
                usage=usage(result).model_dump(),
                rlm=numbers(result).model_dump(mode="json"),
            )
            + _event("message_stop")
        )

    def _parts(self, result: RunResult) -> str:
        if self._head.documents is not None:
            return "".join(_blocks(answer_blocks(result, self._head.documents)))
        text = self._text(self._told.rest(result.answer or ""))
        return text + (_event("content_block_stop", index=0) if self._open else "")


def _blocks(blocks: Iterable[AnswerBlock]) -> Iterable[str]:
    for index, block in enumerate(blocks):
        yield _opened(index, [] if block.citations else None)
        yield _piece(index, block.text)
        for citation in block.citations or []:
            delta = {"type": "citations_delta", "citation": citation.model_dump()}
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)


def _opened(index: int, citations: list[object] | None) -> str:
    block = {"type": "text", "text": "", "citations": citations}
    return _event("content_block_start", index=index, content_block=block)


def _piece(index: int, text: str) -> str:
    return _event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def _failed(data: Mapping[str, object]) -> str:
    body = ErrorBody.model_validate(data.get("error"))
    told = anthropic_error(body.to_error(), error_class(body.type).status)
    return _event("error", error=told.error.model_dump())


def _event(kind: str, **fields: object) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n"


def whole_stream(head: MessageHead, result: RunResult) -> str:
    """The stream of a run that had ended before anyone could follow it."""
    stream = MessageStream(head)
    kind = "result" if result.success else "error"
    return stream.translate("session", {}) + stream.translate(kind, result.to_wire())
