"""The `Model` port on Workers AI's models that judge texts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.adapters.bindings import look_for_end
from rlm_worker.adapters.providers.ai_binding import AIBinding, as_python
from rlm_worker.adapters.workers_ai_errors import as_model_error, told_error
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import DeltaSink

from .shapes import judge_body, judged


class WorkersAIJudges:
    """Asks judges through the binding `AI`; there is nothing to stream."""

    def __init__(self, binding: AIBinding) -> None:
        self._binding = binding

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:  # noqa: ARG002 - the port's
        abort = js.AbortController.new()
        inputs = to_js(judge_body(request), dict_converter=js.Object.fromEntries)
        try:
            found = as_python(await self._binding.run(request.model.id, inputs, abort.signal))
        except (JsException, OSError) as error:
            look_for_end(error)
            raise as_model_error(str(error)) from None
        except asyncio.CancelledError:
            abort.abort()
            raise
        if isinstance(found, Mapping) and (told := told_error(found)):
            raise as_model_error(told)
        return judged(request, found)
