"""The binding `AI`: one call of `run`, given up where nobody waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import js
from pydantic_core import from_json
from pyodide.ffi import JsException, to_js

from rlm_worker.adapters.bindings import binding
from rlm_worker.errors import TerminalError


class AIBinding:
    """Runs models; raises what the binding throws, and `TerminalError` where there is none."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self._abortable = True

    async def run(self, model: str, inputs: Any, signal: Any, options: Mapping[str, object] | None = None) -> Any:
        """The binding's answer, as JavaScript has it; it is given up when `signal` says so."""
        found = binding(self._env, "AI")
        if found is None:
            raise TerminalError("the binding AI is missing", unavailable=True)
        # The plain binding: the SDK's wrapper looks at every argument and result several times, across the border.
        plain = getattr(found, "_binding", found)
        given = to_js(dict(options or {}), dict_converter=js.Object.fromEntries)
        if not self._abortable:
            return await plain.run(model, inputs, given)
        given.signal = signal
        try:
            return await plain.run(model, inputs, given)
        except JsException as error:
            if not str(error).startswith("DataCloneError"):
                raise
        # A binding that is reached by RPC, in a runtime where a signal cannot cross that: nothing was sent.
        self._abortable = False
        js.Reflect.deleteProperty(given, "signal")
        return await plain.run(model, inputs, given)


def as_python(answer: Any) -> object:
    """An answer as JSON would give it; None for what JSON cannot hold."""
    text = js.JSON.stringify(answer)
    try:
        return from_json(text) if isinstance(text, str) else None
    except ValueError:
        return None
