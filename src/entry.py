"""The Worker: exports the entrypoints and the Durable Object classes, and wires ports to adapters; nothing else."""

from __future__ import annotations

from typing import Any

from workers import DurableObject, WorkerEntrypoint

from rlm_worker.adapters.analytics import AnalyticsEngine
from rlm_worker.adapters.bindings import SystemClock, variable
from rlm_worker.adapters.fetch import from_js, to_response
from rlm_worker.adapters.kv import KVCache
from rlm_worker.adapters.queue import BatchQueue
from rlm_worker.adapters.r2 import R2Store
from rlm_worker.adapters.rate_limiter import BindingRateLimiter
from rlm_worker.adapters.sandbox import DynamicWorkers, HostMethods
from rlm_worker.api.admin import AdminRoutes
from rlm_worker.api.app import Api
from rlm_worker.api.responses import error_response
from rlm_worker.batches.admission import Admission
from rlm_worker.batches.consumer import BatchConsumer
from rlm_worker.batches.delivery import consume
from rlm_worker.durable_objects.account_object import AccountMethods, accounts_of, open_account
from rlm_worker.durable_objects.batch_object import BatchMethods, open_batch
from rlm_worker.durable_objects.keys_object import KeyMethods, RegisteredKeys, open_registry
from rlm_worker.durable_objects.pace_object import PaceMethods, open_pace, pace_of
from rlm_worker.durable_objects.probes import BindingProbes
from rlm_worker.durable_objects.rpc import accounts, batches, batches_of, key_registry, sessions
from rlm_worker.durable_objects.session_object import SessionMethods, SessionSlot, open_session
from rlm_worker.errors import NotConfigured
from rlm_worker.log import write_line
from rlm_worker.sessions.runner import Runner
from rlm_worker.settings import Settings


class Default(WorkerEntrypoint):
    """Answers HTTP, and runs what the queue brings."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env

    async def fetch(self, request: Any) -> Any:
        try:
            api = _api(self.env)
        except NotConfigured as error:
            return to_response(error_response(error))
        return to_response(await api.handle(from_js(request)))

    async def queue(self, delivery: Any, *_: Any) -> None:
        runner = _runner(self.env)
        admission = Admission(pace_of(self.env), runner.settings.rates, runner.settings.catalog, runner.clock)
        consumer = BatchConsumer(runner, batches(self.env), write_line, admission)
        await consume(delivery, consumer, BatchQueue(self.env))


class RLMSession(SessionMethods, DurableObject):
    """Holds one session."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._sandbox = DynamicWorkers(ctx, env)
        self._slot = SessionSlot(lambda: open_session(ctx, env, self._sandbox))


class SandboxHost(HostMethods, WorkerEntrypoint):
    """The one thing that a sandbox can reach: its own session."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env


class RLMAccount(AccountMethods, DurableObject):
    """Holds one key to its limits."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._account = open_account(ctx, env)


class RLMKeys(KeyMethods, DurableObject):
    """Holds the list of keys."""

    def __init__(self, ctx: Any, _: Any) -> None:
        self._registry = open_registry(ctx)


class RLMBatch(BatchMethods, DurableObject):
    """Holds one batch."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._keeper = open_batch(ctx, env)

    async def alarm(self, *_: Any) -> None:
        await self._keeper.on_alarm()


class RLMPace(PaceMethods, DurableObject):
    """Holds all runs to the rate of one model."""

    def __init__(self, ctx: Any, _env: Any) -> None:
        self._keeper = open_pace(ctx)


def _api(env: Any) -> Api:
    runner = _runner(env)
    return Api(
        runner,
        accounts=accounts_of(env, runner.settings),
        limiter=BindingRateLimiter(env),
        probes=BindingProbes(env, runner.settings.catalog, runner.settings.providers),
        batches=batches_of(env),
        keys=RegisteredKeys(env),
        admin=AdminRoutes(key_registry(env), accounts(env), runner.settings),
    )


def _runner(env: Any) -> Runner:
    return Runner(
        settings=Settings.from_vars(lambda name: variable(env, name)),
        sessions=sessions(env),
        store=R2Store(env),
        cache=KVCache(env),
        metrics=AnalyticsEngine(env),
        clock=SystemClock(),
    )
