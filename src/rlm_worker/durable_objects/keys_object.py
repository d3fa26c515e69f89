"""The list of keys in its Durable Object: its methods over RPC, and the port that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlm_worker.adapters.bindings import SystemClock, binding
from rlm_worker.errors import StorageUnavailable
from rlm_worker.keys.registry import REGISTRY, KeyRegistry
from rlm_worker.keys.ring import ActiveKey, KeyRing
from rlm_worker.wire.keys import NewKey

from .rpc import Stubs, answered_now, key_registry
from .storage import DurableSQL

_RING = KeyRing()


def open_registry(context: Any) -> KeyRegistry:
    """The list of a Durable Object."""
    return KeyRegistry(DurableSQL(context))


class KeyMethods:
    """What the list answers over RPC."""

    _registry: KeyRegistry

    async def check_key(self, key: str) -> str:
        return await answered_now(lambda: self._registry.check(NewKey.model_validate_json(key), _now()))

    async def add_key(self, key: str) -> str:
        return await answered_now(lambda: self._registry.add(NewKey.model_validate_json(key), _now()).to_wire())

    async def revoke_key(self, prefix: str) -> str:
        return await answered_now(lambda: self._registry.revoke(prefix, _now()).to_wire())

    async def list_keys(self) -> str:
        return await answered_now(lambda: [entry.to_wire() for entry in self._registry.entries(_now())])

    async def active_keys(self) -> str:
        return await answered_now(lambda: self._registry.active(_now()))


class RegisteredKeys:
    """The `Keys` port: the list as this isolate knows it. A deployment without the binding has none."""

    def __init__(self, env: Any) -> None:
        self._stubs: Stubs | None = key_registry(env) if binding(env, "RLM_KEYS") is not None else None

    async def known(self, *, recheck: bool = False) -> Sequence[tuple[str, str]]:
        if self._stubs is None:
            return ()
        return await _RING.names_by_digest(self._read, _now(), recheck=recheck)

    async def _read(self) -> list[ActiveKey]:
        assert self._stubs is not None
        found = await self._stubs.call(REGISTRY, "active_keys")
        if not isinstance(found, list):
            raise StorageUnavailable("the list of keys answered with something that is not a list")
        return [(str(name), str(digest), end) for name, digest, end in found]


def _now() -> float:
    return SystemClock().now()
