"""Third parties' models through the binding `AI`: each in its vendor's own shape, by way of a gateway."""

from __future__ import annotations

import asyncio
import json

import js
from pyodide.ffi import JsException

from rlm_worker.adapters.bindings import look_for_end
from rlm_worker.adapters.workers_ai_errors import as_model_error
from rlm_worker.errors import TerminalError
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import DeltaSink

from .ai_binding import AIBinding, as_python
from .answers import Answer, Shape, mapping
from .chat_shape import ChatShape
from .messages_shape import MessagesShape
from .streams import read_stream


class GatewayModel:
    """The `Model` port on `anthropic/…`, `openai/…` and the like; `gateway` is the id of an AI Gateway."""

    def __init__(self, binding: AIBinding, gateway: str) -> None:
        self._binding = binding
        self._gateway = gateway

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        if not self._gateway:
            raise TerminalError(f"{request.model.id} needs an AI Gateway: set the var AI_GATEWAY", unavailable=True)
        shape = _shape(request)
        inputs = js.JSON.parse(json.dumps(shape.body(request, stream=deltas is not None)))
        abort = js.AbortController.new()
        try:
            found = await self._binding.run(request.model.id, inputs, abort.signal, _options(request, self._gateway))
            answer = Answer(request, deltas)
            if deltas is not None and hasattr(found, "getReader"):
                return await read_stream(found, shape, answer)
            return _whole(as_python(found), shape, answer)
        except (JsException, OSError) as error:
            look_for_end(error)
            raise as_model_error(str(error)) from None
        except asyncio.CancelledError:
            abort.abort()  # nobody waits for the answer any more: the model need not write it
            raise


def _options(request: ModelRequest, gateway: str) -> dict[str, object]:
    options: dict[str, object] = {"gateway": {"id": gateway}}
    return {**options, "rejectIfBusy": True} if request.reject_if_busy else options


def _whole(found: object, shape: Shape, answer: Answer) -> ModelReply:
    body = mapping(found)
    if (error := shape.error(body)) is not None:
        raise error
    if not body:
        raise answer.broken(": it is not an object")
    shape.take(answer, body)
    return answer.reply()


def _shape(request: ModelRequest) -> Shape:
    vendor = request.model.provider
    if vendor == "anthropic":
        return MessagesShape(vendor, names_model=False)
    limit = "max_completion_tokens" if vendor == "openai" else "max_tokens"
    key_field = "prompt_cache_key" if vendor == "openai" else ""
    return ChatShape(vendor, limit, names_model=False, cache_key_field=key_field)  # type: ignore[arg-type] # one of the two
