"""What a deployment has, lacks and costs: compared with the account, shown before anything is done, then made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scripts.cloud.api import CloudflareAPI
from scripts.cloud.config import Expiry, Target
from scripts.local.processes import say

KEYS, ADMIN_KEYS = "RLM_API_KEYS", "RLM_ADMIN_KEYS"
_SECONDS_PER_DAY = 86_400
_Rule = dict[str, object]


@dataclass(frozen=True, slots=True)
class Found:
    """What there is on the account, of what a target names; `secrets` is None where there is no such Worker."""

    subdomain: str = ""
    buckets: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] | None = None
    rules: Mapping[str, Sequence[_Rule]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a target lacks on its account."""

    target: Target
    found: Found
    renew_admin: bool = False

    @property
    def buckets(self) -> tuple[str, ...]:
        return tuple(name for name in self.target.buckets if name not in self.found.buckets)

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(name for name in self.target.queues if name not in self.found.queues)

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(title for title in self.target.namespaces.values() if title not in self.found.namespaces)

    @property
    def expiries(self) -> tuple[Expiry, ...]:
        return tuple(rule for rule in self.target.expiries if not self._holds(rule))

    @property
    def needs_key(self) -> bool:
        return KEYS not in (self.found.secrets or ())

    @property
    def needs_admin_key(self) -> bool:
        return self.renew_admin or ADMIN_KEYS not in (self.found.secrets or ())

    def rows(self) -> list[tuple[str, str]]:
        """What is there, what is made, what is changed: a verb and a thing each."""
        exists = self.found.secrets is not None
        return [
            *(_row(name in self.buckets, f"R2 bucket {name}") for name in self.target.buckets),
            *(self._rule_row(rule) for rule in self.target.expiries),
            *(_row(name in self.queues, f"queue {name}") for name in self.target.queues),
            *(_row(title in self.namespaces, f"KV namespace {title}") for title in self.target.namespaces.values()),
            _row(self.needs_key, f"secret {KEYS}", "a first API key, shown once"),
            _row(self.needs_admin_key, f"secret {ADMIN_KEYS}", "the key of ./scripts/keys, shown once"),
            ("change" if exists else "make", f"Worker {self.target.worker}: {', '.join(self.target.classes)}"),
        ]

    def _rule_row(self, rule: Expiry) -> tuple[str, str]:
        there = any(one.get("id") == rule.name for one in self.found.rules.get(rule.bucket, ()))
        verb = "exists" if self._holds(rule) else "change" if there else "make"
        return verb, f"R2 rule {rule.bucket}: {rule.prefix} goes after {rule.days} days"

    def _holds(self, rule: Expiry) -> bool:
        return _as_rule(rule) in [_compared(one) for one in self.found.rules.get(rule.bucket, ())]


def look(api: CloudflareAPI, target: Target) -> Found:
    """Reads the account, every page of it."""
    secrets = api.secrets(target.worker)
    buckets = tuple(name for name in api.buckets() if name in target.buckets)
    return Found(
        subdomain=api.subdomain(),
        buckets=buckets,
        queues=tuple(name for name in api.queues() if name in target.queues),
        namespaces={title: id_ for title, id_ in api.namespaces().items() if title in target.namespaces.values()},
        secrets=None if secrets is None else tuple(secrets),
        rules={bucket: _rules(api, bucket) for bucket in buckets},
    )


def make_missing(api: CloudflareAPI, plan: Plan) -> dict[str, str]:
    """Makes everything but the Worker; gives the namespaces' ids by binding. May be repeated."""
    for bucket in plan.buckets:
        say(f"making the R2 bucket {bucket}")
        api.call("POST", "/r2/buckets", {"name": bucket})
    _set_expiries(api, plan)
    for queue in plan.queues:
        say(f"making the queue {queue}")
        api.call("POST", "/queues", {"queue_name": queue})
    ids = dict(plan.found.namespaces)
    for title in plan.namespaces:
        say(f"making the KV namespace {title}")
        made = api.call("POST", "/storage/kv/namespaces", {"title": title})
        ids[title] = str(made["id"]) if isinstance(made, dict) else ""
    return {binding: ids[title] for binding, title in plan.target.namespaces.items()}


def _set_expiries(api: CloudflareAPI, plan: Plan) -> None:
    """Writes the rules that are missing or different; the bucket's other rules stay as they are."""
    for bucket in dict.fromkeys(rule.bucket for rule in plan.expiries):
        wanted = [rule for rule in plan.target.expiries if rule.bucket == bucket]
        say(f"having the R2 bucket {bucket} delete what is {wanted[0].days} days old")
        ours = {rule.name for rule in wanted}
        others = [one for one in _rules(api, bucket) if one.get("id") not in ours]
        api.call("PUT", f"/r2/buckets/{bucket}/lifecycle", {"rules": [*others, *map(_as_rule, wanted)]})


def _rules(api: CloudflareAPI, bucket: str) -> list[_Rule]:
    found = api.get(f"/r2/buckets/{bucket}/lifecycle")
    rules = found.get("rules") if isinstance(found, dict) else None
    return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []


def _as_rule(rule: Expiry) -> _Rule:
    return {
        "id": rule.name,
        "enabled": True,
        "conditions": {"prefix": rule.prefix},
        "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": rule.days * _SECONDS_PER_DAY}},
    }


def _compared(rule: _Rule) -> _Rule:
    """A rule without what the API adds to it."""
    return {
        name: value
        for name, value in rule.items()
        if name in {"id", "enabled", "conditions", "deleteObjectsTransition"}
    }


def _row(missing: bool, what: str, why: str = "") -> tuple[str, str]:
    return ("make", f"{what}: {why}" if why else what) if missing else ("exists", what)
