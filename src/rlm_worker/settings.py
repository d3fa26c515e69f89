"""What ops set: vars and secrets, read once per isolate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from .catalog import Catalog
from .errors import NotConfigured
from .ports import Deployment
from .schemas import RunConfig

# A JSON body is held whole, several times over, while it is read: this leaves room in an isolate of 128 MB.
_MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment: defaults of runs, limits, keys, models."""

    defaults: RunConfig
    deployment: Deployment
    catalog: Catalog
    keys: str = field(default="", repr=False)
    local: bool = False
    max_body_bytes: int = _MAX_BODY_BYTES
    max_context_bytes: int = 1_000_000_000
    max_documents: int = 100_000
    session_ttl_days: float = 7.0

    @classmethod
    def from_vars(cls, read: Callable[[str], str | None]) -> Settings:
        """Reads vars by name; raises `NotConfigured` with the name of one that cannot be right."""
        numbers = _Numbers(read)
        return cls(
            defaults=_defaults(numbers),
            deployment=_deployment(numbers),
            catalog=Catalog.standard().with_overrides(read("MODEL_OVERRIDES") or "{}"),
            keys=read("RLM_API_KEYS") or "",
            local=read("RLM_LOCAL") == "1",
            max_body_bytes=numbers.whole("MAX_BODY_BYTES", _MAX_BODY_BYTES),
            max_context_bytes=numbers.whole("MAX_CONTEXT_BYTES", 1_000_000_000),
            max_documents=numbers.whole("MAX_DOCUMENTS", 100_000),
            session_ttl_days=numbers.number("SESSION_TTL_DAYS", 7.0),
        )


def _defaults(numbers: _Numbers) -> RunConfig:
    chosen = {
        "max_iterations": numbers.whole("MAX_ITERATIONS", 20),
        "max_sub_calls": numbers.whole("MAX_SUB_CALLS", 100),
        "chunk_size": numbers.whole("CONTEXT_CHUNK_SIZE", 50_000),
    }
    try:
        return RunConfig.model_validate(chosen)
    except ValidationError as error:
        raise NotConfigured(f"MAX_ITERATIONS, MAX_SUB_CALLS or CONTEXT_CHUNK_SIZE: {error}") from None


def _deployment(numbers: _Numbers) -> Deployment:
    return Deployment(
        max_concurrency=numbers.whole("MAX_CONCURRENCY", 32),
        first_concurrency=numbers.whole("FIRST_CONCURRENCY", 8),
        attempts=numbers.whole("MODEL_ATTEMPTS", 6),
        call_timeout_seconds=numbers.number("MODEL_TIMEOUT_SECONDS", 120.0),
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
        if value <= 0:
            raise NotConfigured(f"the var {name} must be above zero, not {text!r}")
        return value

    def whole(self, name: str, default: int) -> int:
        return int(self.number(name, default))


def public_limits(settings: Settings) -> Mapping[str, object]:
    """The limits that a caller with a key may see."""
    return {
        "maxBodyBytes": settings.max_body_bytes,
        "maxContextBytes": settings.max_context_bytes,
        "maxDocuments": settings.max_documents,
        "sessionTtlDays": settings.session_ttl_days,
        "defaults": json.loads(settings.defaults.model_dump_json(by_alias=True)),
    }
