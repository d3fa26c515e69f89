"""The Worker, telling how much WebAssembly memory it has had at most, in bytes: `GET /wasm`. It never shrinks."""

from __future__ import annotations

from typing import Any

import pyodide_js
from workers import Response

import entry

RLMSession = entry.RLMSession
RLMAccount = entry.RLMAccount
RLMBatch = entry.RLMBatch
SandboxHost = entry.SandboxHost


class Default(entry.Default):
    """Answers HTTP, and what all that is held in Python has taken."""

    async def fetch(self, request: Any) -> Any:
        if not str(request.url).endswith("/wasm"):
            return await super().fetch(request)
        return Response(str(pyodide_js._module.HEAPU8.byteLength))
