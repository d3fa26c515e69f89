"""What ops set: vars and secrets, read once per isolate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import ValidationError

from rlm_worker.budget.account import AccountLimits
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.overrides import with_overrides
from rlm_worker.models.providers import providers_of
from rlm_worker.pace.rates import VARIABLE, Rates
from rlm_worker.routing.checks import Surroundings
from rlm_worker.routing.table import RoutingTable
from rlm_worker.wire.batches import MAX_BATCH_ITEMS
from rlm_worker.wire.requests import RunConfig
from rlm_worker.wire.results import Limits

from .errors import NotConfigured
from .ports import JUDGES, Deployment, JudgeName, Provider

# A JSON body is held whole, several times over, while it is read: this leaves room in an isolate of 128 MB.
_MAX_BODY_BYTES = 16 * 1024 * 1024
_SECONDS_PER_DAY = 86_400
_DEFAULT_VARS = {
    "MAX_ITERATIONS": "max_iterations",
    "MAX_SUB_CALLS": "max_sub_calls",
    "CONTEXT_CHUNK_SIZE": "chunk_size",
}
_RELEVANCE = "RELEVANCE"
_GATEWAY = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
# Who calls a local deployment that has no keys.
LOCAL_OWNER = "local"
_ORIGIN = re.compile(r"^https?://[a-z0-9.-]+(:\d{1,5})?$|^http://\[::1\](:\d{1,5})?$")


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment: defaults of runs, limits, keys, models."""

    defaults: RunConfig
    deployment: Deployment
    catalog: Catalog
    keys: str = field(default="", repr=False)
    admin_keys: str = field(default="", repr=False)
    local: bool = False
    has_sandbox: bool = False
    max_body_bytes: int = _MAX_BODY_BYTES
    max_context_bytes: int = 1_000_000_000
    max_documents: int = 100_000
    max_batch_items: int = MAX_BATCH_ITEMS
    body_idle_seconds: float = 30.0
    session_ttl_days: float = 7.0
    batch_retry_seconds: float = 10.0
    batch_stall_seconds: float = 900.0
    account_limits: AccountLimits = field(default_factory=AccountLimits)
    deployment_daily_usd: float | None = None
    cors_origins: tuple[str, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict)
    ai_gateway: str = ""
    rates: Rates = field(default_factory=Rates)
    routing: RoutingTable = field(default_factory=RoutingTable)

    @property
    def retention_seconds(self) -> float:
        """How long sessions, batches and contexts are kept after they last moved."""
        return self.session_ttl_days * _SECONDS_PER_DAY

    @classmethod
    def from_vars(cls, read: Callable[[str], str | None]) -> Settings:
        """Reads vars by name; raises `NotConfigured` with the name of one that cannot be right."""
        numbers = _Numbers(read)
        providers = providers_of(read("PROVIDERS") or "{}", lambda name: bool(read(name)))
        gateway = _ai_gateway(read("AI_GATEWAY") or "")
        catalog = _catalog(read, providers, gateway)
        defaults = _defaults(numbers, (read(_RELEVANCE) or "").strip() or None)
        _check_judge(defaults.relevance, catalog)
        return cls(
            defaults=defaults,
            deployment=_deployment(numbers),
            catalog=catalog,
            providers=providers,
            ai_gateway=gateway,
            rates=Rates.parse(read(VARIABLE) or "", numbers.number("MODEL_RATE_SECONDS", 60.0), catalog.id_of),
            routing=RoutingTable.parse(read("ROUTING") or "", _surroundings(read, catalog)),
            keys=read("RLM_API_KEYS") or "",
            admin_keys=read("RLM_ADMIN_KEYS") or "",
            local=read("RLM_LOCAL") == "1",
            has_sandbox=read("RLM_LOADER") is not None,
            max_body_bytes=numbers.whole("MAX_BODY_BYTES", _MAX_BODY_BYTES),
            max_context_bytes=numbers.whole("MAX_CONTEXT_BYTES", 1_000_000_000),
            max_documents=numbers.whole("MAX_DOCUMENTS", 100_000),
            max_batch_items=min(MAX_BATCH_ITEMS, numbers.whole("MAX_BATCH_ITEMS", MAX_BATCH_ITEMS)),
            body_idle_seconds=numbers.number("BODY_IDLE_SECONDS", 30.0),
            session_ttl_days=numbers.number("SESSION_TTL_DAYS", 7.0),
            batch_retry_seconds=numbers.number("BATCH_RETRY_SECONDS", 10.0),
            batch_stall_seconds=numbers.number("BATCH_STALL_SECONDS", 900.0),
            account_limits=_account_limits(numbers),
            deployment_daily_usd=numbers.limit("DEPLOYMENT_DAILY_USD", 0),
            cors_origins=allowed_origins(read("CORS_ORIGINS") or ""),
        )


def _catalog(read: Callable[[str], str | None], providers: Mapping[str, Provider], gateway: str) -> Catalog:
    catalog = Catalog.standard().with_providers(providers, gateway)
    if read("RLM_LOCAL_MODELS") == "1":  # set by scripts/dev
        catalog = catalog.on_this_machine()
    return with_overrides(catalog, read("MODEL_OVERRIDES") or "{}")


def _surroundings(read: Callable[[str], str | None], catalog: Catalog) -> Surroundings:
    """What rules may name; where keys can be added at any time, nobody knows all of them."""
    keys = [entry.partition(":")[0].strip() for entry in (read("RLM_API_KEYS") or "").split(",") if entry.strip()]
    complete = keys and not read("RLM_ADMIN_KEYS")
    return Surroundings(catalog, read("RLM_LOADER") is not None, frozenset(keys) if complete else None)


def _ai_gateway(name: str) -> str:
    if name and not _GATEWAY.match(name):
        raise NotConfigured(f"the var AI_GATEWAY must be a gateway's id, such as default, not {name!r}")
    return name


def _defaults(numbers: _Numbers, relevance: str | None) -> RunConfig:
    known = RunConfig()
    chosen = {name: numbers.whole(var, getattr(known, name)) for var, name in _DEFAULT_VARS.items()}
    try:
        return RunConfig.model_validate({**chosen, "relevance": relevance})
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("relevance",):
            text = f"must be one of {', '.join(JUDGES)}, not {relevance!r}"
            raise NotConfigured(f"the var {_RELEVANCE} {text}") from None
        var = next((var for var, name in _DEFAULT_VARS.items() if name == first["loc"][0]), first["loc"][0])
        raise NotConfigured(f"the var {var}: {first['msg']}") from None


def _check_judge(judge: JudgeName | None, catalog: Catalog) -> None:
    if judge is not None and (obstacle := catalog.judge_obstacle(judge)):
        raise NotConfigured(f"the var {_RELEVANCE}, {judge}: {obstacle}")


def _account_limits(numbers: _Numbers) -> AccountLimits:
    """Limits of each key; zero means none."""
    daily, runs = numbers.limit("KEY_DAILY_USD", 25.0), numbers.limit("KEY_CONCURRENT_RUNS", 64)
    return AccountLimits(daily, None if runs is None else max(1, int(runs)))


def _deployment(numbers: _Numbers) -> Deployment:
    return Deployment(
        max_concurrency=numbers.whole("MAX_CONCURRENCY", 24),
        first_concurrency=numbers.whole("FIRST_CONCURRENCY", 12),
        attempts=numbers.whole("MODEL_ATTEMPTS", 9),
        call_timeout_seconds=numbers.number("MODEL_TIMEOUT_SECONDS", 120.0),
        max_cell_seconds=numbers.number("MAX_CELL_SECONDS", 120.0),
        backoff_seconds=numbers.number("MODEL_BACKOFF_SECONDS", 0.25),
        patience_seconds=numbers.limit("MODEL_PATIENCE_SECONDS", 900.0) or 0.0,
        quoted_evidence=numbers.flag("QUOTED_EVIDENCE"),
    )


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Reads vars that are numbers."""

    read: Callable[[str], str | None]

    def number(self, name: str, default: float) -> float:
        text = self.read(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            raise NotConfigured(f"the var {name} must be a number, not {text!r}") from None
        if not 0 < value < math.inf:
            raise NotConfigured(f"the var {name} must be above zero, not {text!r}")
        return value

    def limit(self, name: str, default: float) -> float | None:
        """A limit that zero switches off, as the default may."""
        text = (self.read(name) or "").strip() or f"{default:g}"
        return None if text == "0" else self.number(name, default)

    def whole(self, name: str, default: int) -> int:
        value = self.number(name, default)
        if value != int(value):
            raise NotConfigured(f"the var {name} must be a whole number, not {self.read(name)!r}")
        return int(value)

    def flag(self, name: str) -> bool:
        text = self.read(name) or "0"
        if text not in ("0", "1"):
            raise NotConfigured(f"the var {name} must be 0 or 1, not {text!r}")
        return text == "1"


def known_vars(given: Mapping[str, str] | None = None) -> frozenset[str]:
    """The names that `from_vars` reads, secrets and bindings that are told by their presence included.

    What is `given` may bring in others, such as the secrets that it names.
    """
    read: set[str] = set()

    for values in ({}, given or {}):

        def note(name: str, values: Mapping[str, str] = values) -> str | None:
            read.add(name)
            return values.get(name)

        with suppress(NotConfigured):  # the Worker itself says what is wrong with a value
            Settings.from_vars(note)
    return frozenset(read)


def public_limits(settings: Settings, owner: str) -> Limits:
    """The limits that a caller with a key may see."""
    held = AccountLimits() if settings.local and owner == LOCAL_OWNER else settings.account_limits
    return Limits(
        max_body_bytes=settings.max_body_bytes,
        max_context_bytes=settings.max_context_bytes,
        max_documents=settings.max_documents,
        max_batch_items=settings.max_batch_items,
        body_idle_seconds=settings.body_idle_seconds,
        session_ttl_days=settings.session_ttl_days,
        key_daily_usd=held.daily_usd,
        key_concurrent_runs=held.concurrent_runs,
        defaults=settings.defaults,
    )


def allowed_origins(text: str) -> tuple[str, ...]:
    """The origins in the var `CORS_ORIGINS`, separated by commas; raises `NotConfigured` for what is no origin.

    `*` is refused on purpose: an endpoint that spends money has no business with every page there is.
    """
    origins = tuple(part.strip().lower().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        if not _ORIGIN.match(origin):
            raise NotConfigured(f"CORS_ORIGINS must list origins such as https://app.example, not {origin!r}")
    return origins
