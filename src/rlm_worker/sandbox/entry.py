"""The sandbox's Worker: one REPL per isolate, opened once, then one call for each cell.

Its environment holds one stub, `HOST`, with one method, `call`; it has no network.
"""

from __future__ import annotations

import os
from typing import Any

import js
import pyodide_js
from pyodide.ffi import run_sync  # type: ignore[attr-defined] # newer than the types
from workers import WorkerEntrypoint

from . import FORGOTTEN
from .repl import Repl, Setup

_PAGE = 65_536


class _Isolate:
    """What lives as long as the isolate; the environment is that of the request at hand."""

    repl: Repl | None = None
    name: str = ""
    env: Any = None


class Default(WorkerEntrypoint):
    """What the session may call."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        _Isolate.env = env

    async def open(self, name: str, setup: str, memory_bytes: int) -> str:
        """Makes the REPL of that name; an isolate that has another one knows nothing of this one, and never will."""
        if _Isolate.repl is not None:
            raise RuntimeError(FORGOTTEN)
        _cap_memory(int(memory_bytes))
        _mute()
        _Isolate.repl, _Isolate.name = Repl(Setup.from_json(setup), _call_host), name
        return "open"

    async def run(self, name: str, request: str) -> str:
        """Runs one cell."""
        if _Isolate.repl is None or _Isolate.name != name:
            raise RuntimeError(FORGOTTEN)
        return _Isolate.repl.run(request)


def _call_host(request: str) -> str:
    return str(run_sync(_Isolate.env.HOST.call(request)))


def _mute() -> None:
    """What goes past the REPL's own streams is nobody's: it would end up in the deployment's log."""
    nowhere = os.open("/dev/null", os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _cap_memory(limit: int) -> None:
    """Lets Python's heap grow to `limit` bytes and no further, so that hoarding ends in a MemoryError.

    The heap is grown to the limit at once and further growth made to fail, by putting a function in its place that
    throws for every number. Cells can undo this; then the platform's own limit on the isolate is what is left.
    """
    module = pyodide_js._module  # noqa: SLF001 - there is no public way to ask
    room = limit - module.HEAP8.length - 2 * _PAGE
    if room > 0:
        module._free(module._malloc(room))  # noqa: SLF001 - grown, not touched: it takes no memory until it is used
    js.WebAssembly.Memory.prototype.grow = js.Symbol.keyFor
