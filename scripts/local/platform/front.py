"""Puts the platform's limits around the classes that a Worker exports."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import js
from pyodide.ffi import JsException
from workers import DurableObject, WorkerEntrypoint

from .environment import StrictEnv
from .invocation import CURRENT, Invocation, Shared
from .storage import StrictStorage
from .switches import ALARM_SECONDS, Limits

# One entry: the vars are the same for all that lives here.
_ISOLATE: list[Limits] = []
_ALARM_CUT = "Alarm exceeded its allowed execution time"


def enforced(worker: ModuleType) -> Mapping[str, type]:
    """The classes that a module exports to the platform, strict."""
    return {
        name: _strict_class(name, exported, is_object=issubclass(exported, DurableObject))
        for name, exported in vars(worker).items()
        if inspect.isclass(exported)
        and issubclass(exported, DurableObject | WorkerEntrypoint)
        and exported not in (DurableObject, WorkerEntrypoint)
    }


def _strict_class(name: str, exported: type, *, is_object: bool) -> type:
    def __init__(self: Any, ctx: Any, env: Any) -> None:  # noqa: N807 - it is one
        strict, limits = StrictEnv(env), _opened(env)
        self._strict_home = _Home(limits, ctx, is_object=is_object)
        strict.open(limits, self._strict_home.current)
        if is_object:
            ctx.storage = StrictStorage(ctx.storage, limits.row_bytes)
        exported.__init__(self, ctx, strict)  # type: ignore[misc] # the very class

    methods = {
        key: _counted(method)
        for key, method in inspect.getmembers(exported, inspect.iscoroutinefunction)
        if not key.startswith("_")
    }
    return type(name, (exported,), {"__init__": __init__, "__module__": exported.__module__, **methods})


class _Home:
    """One instance of a class: the object that lives on, or what answers one event."""

    def __init__(self, limits: Limits, ctx: Any, *, is_object: bool) -> None:
        self._limits = limits
        self._ctx = ctx
        self._is_object = is_object
        self._shared = Shared(limits, limits.object_sandboxes if is_object else limits.sandboxes)
        self._constructing = self.begin()

    def begin(self) -> Invocation:
        """A new event."""
        return Invocation(self._limits, self._shared)

    def current(self) -> Invocation:
        """The event that brought the code here that asks; the construction where there was none yet."""
        return CURRENT.get() or self._constructing

    def alarm_cut(self) -> Callable[[], None]:
        """Has an alarm cut off when its time is over; gives what to call when it has ended before."""
        seconds = self._limits.alarm_seconds
        if not self._is_object or seconds >= ALARM_SECONDS:
            return lambda: None  # workerd's own limit
        # Without a line of Python: aborting ends JavaScript where it stands.
        real = getattr(self._ctx, "_ctx", self._ctx)
        timer = js.setTimeout(real.abort.bind(real, _ALARM_CUT), int(seconds * 1000))
        return lambda: js.clearTimeout(timer)


def _counted(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def counted(self: Any, *arguments: Any) -> Any:
        home: _Home = self._strict_home
        CURRENT.set(home.begin())  # in the task of this event, and in those that it begins
        if method.__name__ != "alarm":
            return await method(self, *arguments)
        ended = home.alarm_cut()
        try:
            return await method(self, *arguments)
        finally:
            ended()

    return counted


def _opened(env: Any) -> Limits:
    """The limits of this isolate; from the first event on what leaves by `fetch` counts too."""
    if not _ISOLATE:
        _ISOLATE.append(Limits.from_vars(lambda variable: _variable(env, variable)))
        js.fetch = _counted_fetch(js.fetch)
    return _ISOLATE[0]


def _counted_fetch(real: Any) -> Callable[..., Any]:
    async def fetch(*arguments: Any) -> Any:
        invocation = CURRENT.get()
        if invocation is None:
            return await real(*arguments)
        return await invocation.ask(lambda: real(*arguments), connected=True)

    return fetch


def _variable(env: Any, name: str) -> str | None:
    try:
        found = getattr(env, name, None)
    except (AttributeError, JsException):
        return None
    return found if isinstance(found, str) else None
