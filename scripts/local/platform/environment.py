"""The environment of a Worker, its bindings strict."""

from __future__ import annotations

from typing import Any

from workers.rpc import _BindingWrapper, _DurableObjectNamespaceWrapper, _EnvWrapper, _FetcherWrapper
from workers.utils import _get_js_constructor_name

from .bindings import (
    Current,
    StrictBinding,
    StrictDataset,
    StrictKV,
    StrictLoader,
    StrictNamespace,
    StrictQueue,
    StrictR2,
)
from .switches import Limits

_AI = "AI"
_LOADER = "WorkerLoader"


class StrictEnv(_EnvWrapper):  # so that the SDK does not wrap it once more
    """What the SDK gives, each binding with its rules; `open` says whose calls are counted."""

    def __init__(self, env: Any) -> None:
        if env is self:
            return
        super().__init__(env._env)  # type: ignore[no-untyped-call] # noqa: SLF001 - the SDK's own wrapper
        self._limits: Limits | None = None
        self._current: Current | None = None

    def open(self, limits: Limits, current: Current) -> None:
        self._limits, self._current = limits, current

    def _getattr_helper(self, name: str) -> Any:
        found = super()._getattr_helper(name)  # type: ignore[no-untyped-call] # the SDK has no types
        if self._limits is None or self._current is None:
            return found
        return _strict(name, found, self._limits, self._current)


def _strict(name: str, found: Any, limits: Limits, current: Current) -> Any:
    if isinstance(found, _DurableObjectNamespaceWrapper):
        return StrictNamespace(found, current, connected=limits.stub_connections)
    if isinstance(found, _FetcherWrapper):  # a stand-in for AI, or another Worker
        return StrictBinding(found, current, connected=limits.ai_connections if name == _AI else True)
    kind = _get_js_constructor_name(getattr(found, "_binding", found)) or ""
    if kind == _LOADER:
        return StrictLoader(found, current)
    return _by_kind(kind, found, limits, current) if isinstance(found, _BindingWrapper) else found


def _by_kind(kind: str, found: Any, limits: Limits, current: Current) -> Any:
    if kind.endswith("Dataset") or kind == "AnalyticsEngine":
        return StrictDataset(found, current)
    if kind == "KvNamespace":
        return StrictKV(found, current, connected=True)
    if kind == "R2Bucket":
        return StrictR2(found, current, connected=True)
    if kind == "WorkerQueue":
        return StrictQueue(found, current, connected=True)
    return StrictBinding(found, current, connected=limits.ai_connections if kind == "Ai" else False)
