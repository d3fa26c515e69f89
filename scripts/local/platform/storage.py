"""A Durable Object's storage, where nothing is larger than the platform takes.

What SQL itself makes larger (`text || ?`) is not measured: workerd's own limit of 4 MiB meets that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import throw

_TOO_LARGE = "string or blob too big: SQLITE_TOOBIG"
_INSERTS = re.compile(r"\s*(INSERT|REPLACE)\b", re.IGNORECASE)
_ROWS = re.compile(r"\)\s*,\s*\(")
_UTF8_MOST = 4


class StrictStorage:
    """`ctx.storage`, as the SDK wraps it."""

    def __init__(self, real: Any, row_bytes: float) -> None:
        self._real = real
        self._row_bytes = row_bytes
        self._binding = StrictPlainStorage(real._binding, row_bytes)  # noqa: SLF001 - as the product reaches its SQL
        self.sql = StrictSQL(real.sql, row_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def put(self, key: Any, value: Any = None, *options: Any) -> Any:
        for one, its in key.items() if isinstance(key, Mapping) else ((key, value),):
            if size_of(one) + size_of(its) > self._row_bytes:
                throw(_TOO_LARGE)
        return await self._real.put(key, *(() if value is None else (value,)), *options)


class StrictPlainStorage:
    """The same without the SDK's wrapper."""

    def __init__(self, real: Any, row_bytes: float) -> None:
        self._real = real
        self.sql = StrictSQL(real.sql, row_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class StrictSQL:
    """`storage.sql`."""

    def __init__(self, real: Any, row_bytes: float) -> None:
        self._real = real
        self._exec = real.exec
        self._row_bytes = row_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def exec(self, statement: str, *values: Any) -> Any:
        """Runs a statement; the values that it binds must fit a row, or each of them a value where it makes no rows."""
        texts = [value for value in values if isinstance(value, str | bytes)]
        if sum(map(len, texts)) * _UTF8_MOST > self._row_bytes and self._too_large(statement, values):
            throw(_TOO_LARGE)
        return self._exec(statement, *values)

    def _too_large(self, statement: str, values: Sequence[Any]) -> bool:
        sizes = [size_of(value) if isinstance(value, str | bytes) else 8 for value in values]
        if _INSERTS.match(statement):
            per_row = max(1, len(sizes) // (len(_ROWS.findall(statement)) + 1))
            sizes = [sum(sizes[start : start + per_row]) for start in range(0, len(sizes), per_row)]
        return max(sizes, default=0) > self._row_bytes


def size_of(value: Any) -> int:
    """Bytes of a value as it is stored, about."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes | bytearray | memoryview):
        return memoryview(value).nbytes
    if hasattr(value, "byteLength"):
        return int(value.byteLength)
    return len(json.dumps(value, default=str))
