"""`/health?deep=1`: each binding is used once, as a run would use it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rlm_worker.adapters.bindings import binding, first_line
from rlm_worker.adapters.providers.ai_binding import AIBinding
from rlm_worker.adapters.providers.direct import DirectModel
from rlm_worker.adapters.r2 import R2Store
from rlm_worker.adapters.workers_ai import WorkersAI
from rlm_worker.errors import ModelError
from rlm_worker.keys.registry import REGISTRY
from rlm_worker.messages import Message, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.ports import Provider, Rate, pieces

from .account_object import AccountStubs
from .pace_object import PaceStubs
from .rpc import key_registry, sessions

_PROVIDER_SECONDS = 10.0
_PROBE_MODEL = "llama-3.1-8b"


class BindingProbes:
    """The `Probes` port: writes, reads and deletes a value of its own in each store, and asks the model for a word.

    Direct providers are asked for what costs nothing; they are named as in `PROVIDERS.anthropic`.
    """

    def __init__(self, env: Any, catalog: Catalog, providers: Mapping[str, Provider] | None = None) -> None:
        self._env = env
        self._catalog = catalog
        self._providers = providers or {}

    async def check(self) -> Mapping[str, str | None]:
        """What is wrong with each binding, None where nothing is."""
        checks: dict[str, Callable[[], Awaitable[None]]] = {
            "AI": self._ai,
            "RLM_SESSIONS": self._sessions,
            "RLM_CONTEXT_STORAGE": self._r2,
            "RLM_CACHE": self._kv,
            "RLM_ANALYTICS": self._analytics,
            "RLM_ACCOUNTS": self._accounts,
            "RLM_KEYS": self._keys,
            "RLM_PACE": self._pace,
        }
        found = {name: await self._problem(name, check) for name, check in checks.items()}
        names = [f"PROVIDERS.{name}" for name in self._providers]
        problems = await asyncio.gather(*map(self._provider_problem, self._providers.values()))
        return {**found, **dict(zip(names, problems, strict=True))}

    async def _provider_problem(self, provider: Provider) -> str | None:
        if provider.missing_secrets:
            return f"the secret {provider.missing_secrets[0]} is not set"
        secrets = {name for one in self._providers.values() for name in (one.key, one.gateway_key) if name}
        try:
            async with asyncio.timeout(_PROVIDER_SECONDS):
                await DirectModel(self._env, provider, secrets).check()
        except TimeoutError:
            return f"no answer in {_PROVIDER_SECONDS:g} s"
        except ModelError as error:
            return str(error)
        return None

    async def _problem(self, name: str, check: Callable[[], Awaitable[None]]) -> str | None:
        if binding(self._env, name) is None:
            return "missing"
        try:
            await check()
        except Exception as error:  # noqa: BLE001 - whatever a binding throws is what ops want to read here
            return first_line(error)
        return None

    async def _ai(self) -> None:
        model = self._catalog.find(_PROBE_MODEL)
        if model is not None:
            await WorkersAI(AIBinding(self._env)).complete(ModelRequest(model, (Message("user", "Say OK."),), 4))

    async def _sessions(self) -> None:
        await sessions(self._env).call("probe", "ping")

    async def _r2(self) -> None:
        key, content = f"probes/{uuid.uuid4().hex}", b"probe"
        store = R2Store(self._env)
        await store.write(key, pieces(content))
        if await store.read(key, 0, len(content)) != content:
            raise RuntimeError("gave back something else than was written")
        await store.delete(key)

    async def _kv(self) -> None:
        key, value = f"probe:{uuid.uuid4().hex}", json.dumps("probe")
        kv = binding(self._env, "RLM_CACHE")
        await kv.put(key, value, {"expirationTtl": 60})  # type: ignore[union-attr] # checked by _problem
        # Left to expire: a key that was just written takes no second write, deletion included, for a second.
        await kv.get(key)  # type: ignore[union-attr]

    async def _accounts(self) -> None:
        await AccountStubs(self._env).state("probe")

    async def _keys(self) -> None:
        await key_registry(self._env).call(REGISTRY, "active_keys")

    async def _pace(self) -> None:
        await PaceStubs(self._env).leave("probe", Rate(1), "probe", "probe", 0)

    async def _analytics(self) -> None:
        if not callable(getattr(binding(self._env, "RLM_ANALYTICS"), "writeDataPoint", None)):
            raise TypeError("takes no data points")
