"""One run as its strategy sees it: the job, the context, the models behind their limits, and who is watching."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rlm_worker.budget.funding import Funds, Grant, Unlimited
from rlm_worker.budget.ledger import Ledger, UsageLimits
from rlm_worker.citations.cited import Cited
from rlm_worker.citations.said import Said, said_in
from rlm_worker.errors import ModelError, NotConfigured, RetryableError, UsageLimitExceeded
from rlm_worker.journal.cells import CellTable
from rlm_worker.journal.tables import RowTable
from rlm_worker.messages import CallKind, Message, ModelRequest, ModelSpec, Role, Span
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.chains import Chains
from rlm_worker.models.concurrency import BackoffSignal, Item, Result, fan_out
from rlm_worker.models.latency import Latency
from rlm_worker.models.pricing import Pricing
from rlm_worker.models.stack import ModelStack
from rlm_worker.pace.client import Party, RunPace, Unpaced
from rlm_worker.pace.rates import Rates
from rlm_worker.ports import (
    Accounts,
    Clock,
    Deployment,
    EventSink,
    Journal,
    JudgeName,
    Model,
    ObjectStubs,
    Pace,
    ResultCache,
    Sandbox,
)
from rlm_worker.structured.form import Form
from rlm_worker.structured.words import form_rule
from rlm_worker.text.context import ContextReader
from rlm_worker.wire.events import Event, PlanEvent
from rlm_worker.wire.routing import Routing
from rlm_worker.wire.tables import TableReport

from .job import Job, TaskChoice

ROOT_OUTPUT_TOKENS = 1024
SUB_OUTPUT_TOKENS = 512
# A call may be so much quicker than expected.
_QUICK = 0.6


@dataclass(frozen=True, slots=True)
class RunPorts:
    """The outside world of a run."""

    model: Model
    journal: Journal
    events: EventSink
    cache: ResultCache
    clock: Clock
    catalog: Catalog
    deployment: Deployment
    accounts: Accounts = field(default_factory=Unlimited)
    pace: Pace = field(default_factory=Unpaced)
    rates: Rates = field(default_factory=Rates)
    sandbox: Sandbox | None = None
    cells: CellTable | None = None
    rows: RowTable | None = None
    sessions: ObjectStubs | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy brings back; `read` counts the characters that a model read."""

    answer: str
    chunks: int
    read: int
    truncated: bool = False
    chunk_order: tuple[int, ...] | None = None
    judge: JudgeName | None = None
    cited: Cited = field(default_factory=Cited)
    table: TableReport | None = None


@dataclass(slots=True)
class Run:
    """The state that all strategies share; `incomplete`: something was lost that another attempt may bring.

    `form` is what the answer is to have, None for text; `unfit` says why it does not, empty where it does.
    `question` is what readers of parts are asked: the job's query, unless that needs earlier turns to be understood.
    """

    job: Job
    reader: ContextReader
    ports: RunPorts
    root: ModelSpec
    sub: ModelSpec
    ledger: Ledger
    pricing: Pricing
    model: Model
    judge: Model
    pace: RunPace
    funds: Funds
    chains: Chains
    latency: Latency = field(default_factory=Latency)
    backoff: BackoffSignal = field(default_factory=BackoffSignal)
    warnings: list[str] = field(default_factory=list)
    incomplete: bool = False
    routing: Routing = field(default_factory=Routing)
    question: str = ""
    form: Form | None = None
    unfit: str = ""

    @property
    def instructions(self) -> str | None:
        """How to answer, in the caller's own words and by the form that was asked for; None where nothing was said."""
        said = [self.job.instructions or "", "" if self.form is None else form_rule(self.form.schema)]
        return "\n\n".join(filter(None, said)) or None

    @property
    def root_output(self) -> int:
        """How many tokens the root model may write at once."""
        return min(self._output(self.root, ROOT_OUTPUT_TOKENS), self.root.window // 2)

    @property
    def sub_output(self) -> int:
        """How many tokens a sub-model may write at once."""
        return min(self._output(self.sub, SUB_OUTPUT_TOKENS), self.sub.window // 4)

    def _output(self, model: ModelSpec, usual: int) -> int:
        """What the caller allows, else what is usual; a model that thinks needs room for that too."""
        config = self.job.config
        if config.max_output_tokens is not None:
            return config.max_output_tokens
        return max(usual, model.output_floor) if model.thinks(config.reasoning_effort) else usual

    def request(
        self, role: Role, kind: CallKind, messages: tuple[Message, ...], span: Span | None = None
    ) -> ModelRequest:
        """A call of this run, with the run's own model and limits for that role."""
        return ModelRequest(
            model=self.root if role == "root" else self.sub,
            messages=messages,
            max_output_tokens=self.root_output if role == "root" else self.sub_output,
            temperature=self.job.config.temperature,
            role=role,
            kind=kind,
            span=span,
            effort=self.job.config.reasoning_effort,
            cache_key=self._cache_key(kind, messages),
        )

    def _cache_key(self, kind: CallKind, messages: tuple[Message, ...]) -> str:
        """What a prompt is kept under: its conversation's key, or its text's where the caller lets anything be kept."""
        if kind in ("turn", "extract", "compact"):
            return conversation_key(self.job.owner, self.job.session_id)
        prefix = next((message.prefix for message in messages if message.prefix is not None), None)
        return prefix.key if prefix is not None and self.job.config.use_cache else ""

    def has_time_for(self, role: Role, *, calls: int = 1) -> bool:
        """Whether so many further calls, one after the other, may well end before the run's deadline."""
        left = self.ledger.remaining_seconds()
        return left is None or (left > 0 and left >= calls * self.latency.expected(role) * _QUICK)

    async def fan_out(
        self, items: AsyncIterator[Item] | Iterable[Item], work: Callable[[Item], Awaitable[Result]]
    ) -> list[Result]:
        """Applies `work`, which calls a model, to each item, as many at a time as the deployment allows."""
        return await fan_out(items, work, width=self.ports.deployment.max_concurrency, backoff=self.backoff)

    def emit(self, event: Event) -> None:
        self.ports.events.emit(event.kind, event.to_wire())

    def announce_plan(self, strategy: str, *, chunks: int, chunk_size: int) -> None:
        """Says how the context will be read; `chunk_size` in characters."""
        self.emit(
            PlanEvent(
                strategy=strategy,
                characters=self.reader.manifest.characters,
                chunks=chunks,
                chunk_size=chunk_size,
                root_model=self.root.id,
                sub_model=self.sub.id,
                routing=self.routing,
            )
        )

    def route(self, choice: TaskChoice) -> None:
        """Goes on with what rules choose for a task that has just been told."""
        names = ("strategy", "root_model", "sub_model")
        config = self.job.config.model_copy(update={name: getattr(choice, name) for name in names})
        self.job = self.job.model_copy(update={"config": config, "routing": choice.routing, "chains": choice.chains})
        self.root, self.sub = (_found(self.ports.catalog, name) for name in (choice.root_model, choice.sub_model))
        self.chains.use(_fallbacks(choice.chains, self.ports.catalog))
        self.routing = choice.routing

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def is_unfit(self, problem: str) -> None:
        """Notes that the answer has not the form that was asked for."""
        self.unfit = problem

    def said(self, answer: str) -> Said:
        """What an answer says, and quotes: of one that has a form, the values in it."""
        return said_in(answer, as_json=self.form is not None)

    def lost(self, error: ModelError) -> None:
        """Notes that a call has brought nothing; one that failed for a passing reason may bring it another time."""
        self.incomplete = self.incomplete or isinstance(error, RetryableError)

    def out_of_time(self) -> UsageLimitExceeded:
        """The limit that is met when the run's time is up."""
        return UsageLimitExceeded("timeoutSeconds", self.job.config.timeout_seconds or 0, 0)

    def limit_reached(self, error: UsageLimitExceeded) -> None:
        """Notes the limit that cut the run short."""
        self.warn(f"limit reached: {self._limit_sentence(error)}")

    def _limit_sentence(self, error: UsageLimitExceeded) -> str:
        if error.limit == "timeoutSeconds":
            return f"timeoutSeconds ({self.job.config.timeout_seconds:g})"
        return f"{error.limit} ({error.allowed:g})"


def conversation_key(owner: str, session_id: str) -> str:
    """What the turns of one session are kept under, by a digest that tells of neither."""
    return hashlib.sha256(json.dumps([owner, session_id]).encode()).hexdigest()[:32]


def start_run(job: Job, reader: ContextReader, ports: RunPorts) -> Run:
    """Puts a run together, its ledger filled with what the journal says was paid."""
    ledger = Ledger(_limits(job), ports.clock.now)
    for paid in ports.journal.payments():
        model = ports.catalog.answering(paid.model)
        ledger.restore(paid.call, paid.role, model, paid.usage, paid.at_most_usd)
    for sandbox in ports.journal.sandboxes():
        ledger.pay_sandbox(sandbox.cost_usd)
    pace = RunPace(Party(ports.pace, ports.rates, ports.clock, job.owner, job.session_id))
    pricing = Pricing()
    chains = _chains(job, ports, pricing)
    stack = ModelStack(
        ports.model,
        ports.journal,
        ports.clock,
        ports.catalog,
        ports.deployment,
        ledger,
        pace,
        pricing=pricing,
        chains=chains,
    )
    earlier_usd = ports.journal.cut_off_usd()
    grant = Grant(ports.accounts, job.owner, job.run_id, job.granted_usd, earlier_usd, job.started_at)
    funds = Funds(ledger, grant, ports.clock.now)
    return Run(
        job=job,
        reader=reader,
        ports=ports,
        root=_found(ports.catalog, job.config.root_model),
        sub=_found(ports.catalog, job.config.sub_model),
        ledger=ledger,
        pricing=pricing,
        model=stack.build(funds),
        judge=stack.build_judge(funds),
        pace=pace,
        funds=funds,
        chains=chains,
        latency=stack.latency,
        backoff=stack.backoff,
        routing=_routing(job),
        form=Form.of(job.response_schema),
        question=job.query,
    )


def _chains(job: Job, ports: RunPorts, pricing: Pricing) -> Chains:
    """Who stands in for whom; a model that the deployment has lost since the job was made is left out."""
    found = _fallbacks(job.chains, ports.catalog)
    return Chains(ports.catalog, ports.clock, pricing, found, output_is_set=job.config.max_output_tokens is not None)


def _fallbacks(chains: Mapping[str, Sequence[str]], catalog: Catalog) -> dict[str, list[ModelSpec]]:
    return {
        model: [found for name in names if (found := catalog.find(name)) and not catalog.obstacle(found)]
        for model, names in chains.items()
    }


def _routing(job: Job) -> Routing:
    """What has chosen the models of a job; nothing is known of it where an earlier version has made the job."""
    models = {"root_model": job.config.root_model, "sub_model": job.config.sub_model}
    return (job.routing or Routing()).model_copy(update=models)


def _limits(job: Job) -> UsageLimits:
    config = job.config
    return UsageLimits(config.max_cost_usd, config.max_sub_calls, config.max_iterations, job.deadline)


def _found(catalog: Catalog, name: str) -> ModelSpec:
    model = catalog.find(name)
    if model is None:
        raise NotConfigured(f"the model {name} is no longer in this deployment's catalogue")
    return model
