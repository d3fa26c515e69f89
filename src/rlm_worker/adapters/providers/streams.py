"""A stream of a model's, read to its end; and JSON as models write it."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic_core import from_json
from pyodide.ffi import JsException

from rlm_worker.adapters.bindings import first_line, look_for_end
from rlm_worker.messages import ModelReply

from .answers import Answer, Shape

_DONE = "[DONE]"


async def read_stream(stream: Any, shape: Shape, answer: Answer) -> ModelReply:
    """The reply that the events make; what fails after the first word was computed, and is billed."""
    try:
        async for data in event_data(stream):
            if data == _DONE:
                answer.whole = True
                break
            event = event_object(data)
            if (error := shape.error(event)) is not None:
                raise answer.failed(error)
            shape.take_event(answer, event)
            if answer.whole:
                break
    except (JsException, OSError) as error:
        look_for_end(error)
        raise answer.broken(f": {first_line(error)}") from None
    if not answer.whole:
        raise answer.broken("")
    return answer.reply()


async def event_data(stream: Any) -> AsyncIterator[str]:
    """The data of each event; an event is one line for all models that were met."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    reader = stream.getReader()
    rest = ""
    while not (block := await reader.read()).done:
        rest += decoder.decode(block.value.to_bytes())
        *lines, rest = rest.split("\n")
        for line in lines:
            if line.startswith("data:"):
                yield line[5:].strip()


def event_object(data: str) -> Mapping[str, object]:
    """An event's JSON; an empty object where it is none."""
    try:
        parsed = from_json(data)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
