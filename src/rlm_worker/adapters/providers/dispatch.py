"""One `Model` for all ids: the provider that an id names answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlm_worker.adapters.judges.workers_ai import WorkersAIJudges
from rlm_worker.adapters.workers_ai import WorkersAI
from rlm_worker.errors import TerminalError
from rlm_worker.messages import ModelReply, ModelRequest, ModelSpec, direct_provider
from rlm_worker.ports import DeltaSink, Model, Provider

from .ai_binding import AIBinding
from .direct import DirectModel
from .gateway import GatewayModel


class AnyModel:
    """Asks Workers AI, a third party through the gateway, or a provider of the deployment's, as the model's id says."""

    def __init__(self, env: Any, providers: Mapping[str, Provider], gateway: str) -> None:
        binding = AIBinding(env)
        self._workers_ai = WorkersAI(binding)
        self._judges = WorkersAIJudges(binding)
        self._gateway = GatewayModel(binding, gateway)
        secrets = {secret for one in providers.values() for secret in (one.key, one.gateway_key) if secret}
        self._direct = {name: DirectModel(env, provider, secrets) for name, provider in providers.items()}

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        return await self._of(request.model).complete(request, deltas)

    def _of(self, model: ModelSpec) -> Model:
        if model.task != "chat":
            return self._judges
        name = direct_provider(model.id)
        if not name:
            return self._gateway if model.vendor_needs_gateway else self._workers_ai
        if name not in self._direct:
            raise TerminalError(f"the var PROVIDERS has no provider {name!r}", unavailable=True)
        return self._direct[name]
