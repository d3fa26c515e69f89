"""The `Sandbox` port on Dynamic Workers: every REPL is an isolate of its own with no network and one stub.

The stub leads to the entrypoint `SandboxHost` of this Worker, whose properties name the session and the isolate's own
name, which the isolate cannot see; the session answers only under the name of a REPL that is open. Under one name the
platform may run several isolates, one after the other or side by side: each call says which REPL it means. Source for
the loader's options: Cloudflare's documentation of Dynamic Workers; what is not in it was measured in workerd.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.errors import SandboxForgot, SandboxLost, StorageUnavailable
from rlm_worker.ports import SandboxRepl
from rlm_worker.sandbox import FORGOTTEN

from .bindings import binding, look_for_end, variable

# Room for the REPL and a few megabytes of text, and well below the 128 MB that an isolate may have.
_MEMORY_BYTES = 96 * 1024 * 1024
_COMPATIBILITY_DATE = "2026-09-08"
_FLAGS = ("python_workers", "disable_python_external_sdk")
# Locally an isolate needs the bundle for development, and opens from a snapshot of Python alone.
_LOCAL_FLAGS = ("python_workers_development", "disable_python_dedicated_snapshot")
_PACKAGE = "rlm_worker.sandbox"
_MAIN = f"from {_PACKAGE}.entry import Default\n"
_MODULES = (*("__init__", "cites", "entry", "guard", "listing", "output", "places", "repl", "text", "tools", "values"),)
# What opening an isolate may take in CPU time beside the cell's own: Python has to start.
_START_SECONDS = 10
_OPEN_SECONDS = 60.0
_CLOSED_SECONDS = 0.2
MAX_CALL_CHARACTERS = 4_000_000

Call = Callable[[str], Awaitable[str]]


class DynamicWorkers:
    """Opens isolates for one session and answers them."""

    def __init__(self, context: Any, env: Any) -> None:
        self._context = context
        self._env = env
        self._calls: dict[str, Call] = {}

    @property
    def available(self) -> bool:
        return binding(self._env, "RLM_LOADER") is not None

    async def open(self, name: str, session_id: str, setup: str, seconds: float, call: Call) -> SandboxRepl:
        """Starts a REPL; raises `StorageUnavailable` when the platform gives no isolate, `SandboxForgot` a used one."""
        code = self._code(session_id, name, seconds)
        try:
            # The platform asks for the code whenever it makes an isolate: a function of JavaScript's own that gives
            # it, so that no proxy has to outlive this call.
            worker = self._env.RLM_LOADER.get(name, code.valueOf.bind(code))
            isolate = _Isolate(worker, lambda: self._calls.pop(name, None))
        except (JsException, OSError, AttributeError) as error:
            raise StorageUnavailable(f"the sandbox did not start: {_loss_reason(str(error))}") from None
        self._calls[name] = call
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await isolate.open(setup)
        except TimeoutError:
            await isolate.close()
            raise StorageUnavailable("the sandbox did not start") from None
        except SandboxForgot:
            await isolate.close()
            raise
        except SandboxLost as loss:
            await isolate.close()
            raise StorageUnavailable(f"the sandbox did not start: {loss}") from None
        return isolate

    async def answer(self, name: str, request: str) -> str:
        """Answers a call of the isolate of that name."""
        call = self._calls.get(name)
        if call is None:
            await asyncio.sleep(_CLOSED_SECONDS)  # whoever still asks is not answered at its own speed
            return json.dumps({"error": "this REPL is closed"})
        return await call(request)

    def _code(self, session_id: str, name: str, seconds: float) -> Any:
        local = variable(self._env, "RLM_LOCAL_BUNDLE") == "1"
        host = self._context.exports.SandboxHost(_object({"props": {"session": session_id, "token": name}}))
        return _object(
            {
                "compatibilityDate": _COMPATIBILITY_DATE,
                "compatibilityFlags": [*_FLAGS, *(_LOCAL_FLAGS if local else ())],
                **({"allowExperimental": True} if local else {}),
                "mainModule": "main.py",
                "modules": {name: {"py": source} for name, source in _sources().items()},
                "globalOutbound": js.JSON.parse("null"),
                "limits": {"cpuMs": int((seconds + _START_SECONDS) * 1000)},
                "env": {"HOST": host},
            }
        )


class _Isolate:
    """One REPL, in the isolate that its entrypoint leads to."""

    def __init__(self, worker: Any, forget: Callable[[], object]) -> None:
        self._entrypoint = worker.getEntrypoint()
        self._forget = forget
        self._repl = secrets.token_hex(8)

    async def open(self, setup: str) -> None:
        await self._invoke("open", self._repl, setup, _MEMORY_BYTES)

    async def run(self, request: str) -> str:
        """Runs a cell; raises `SandboxLost` when the isolate does not live to tell, `SandboxForgot` if it never ran."""
        return str(await self._invoke("run", self._repl, request))

    async def close(self) -> None:
        """Answers the isolate no more and lets go of it; when it ends is the platform's business."""
        self._forget()
        self._entrypoint = None

    async def _invoke(self, method: str, *arguments: object) -> object:
        try:
            return await getattr(self._entrypoint, method)(*arguments)
        except (JsException, OSError) as error:
            look_for_end(error)
            if FORGOTTEN in str(error):
                raise SandboxForgot("the platform restarted it") from None
            raise SandboxLost(_loss_reason(str(error))) from None


class HostMethods:
    """What a sandbox may call: one method, which passes a request on to its own session."""

    ctx: Any
    env: Any

    async def call(self, request: object) -> str:
        if not isinstance(request, str):
            return json.dumps({"error": "a request is text"})
        if len(request) > MAX_CALL_CHARACTERS:  # nothing that long goes any further: the session would refuse it
            return json.dumps({"error": f"one question may have {MAX_CALL_CHARACTERS:,} characters at most"})
        props = self.ctx.props
        session = self.env.RLM_SESSIONS.getByName(props.session)
        return str(await session.sandbox_call(props.token, request))


def _loss_reason(error: str) -> str:
    """The platform's words for the end of an isolate, as a model can understand them."""
    if "hung" in error or "internal error" in error or "memory" in error.lower():
        return "it ended the Python process (out of memory, endless recursion, or an exit)"
    if "CPU" in error:
        return "it used up its CPU time"
    lines = error.strip().splitlines() or ["no message"]
    return f"it broke the Python process ({lines[-1][:200]})"


def _sources() -> dict[str, str]:
    """The sandbox's own modules as text."""
    folder = _PACKAGE.replace(".", "/")
    path = Path(str(import_module(_PACKAGE).__file__)).parent
    own = {f"{folder}/{name}.py": (path / f"{name}.py").read_text(encoding="utf-8") for name in _MODULES}
    return {"main.py": _MAIN, f"{folder.partition('/')[0]}/__init__.py": "", **own}


def _object(value: object) -> Any:
    return to_js(value, dict_converter=js.Object.fromEntries)
