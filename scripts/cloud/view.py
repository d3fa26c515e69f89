"""What `scripts/deploy` shows before it does anything: made to be looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlm_worker import __version__
from scripts.cloud.api import Account
from scripts.cloud.config import Target
from scripts.cloud.plan import Plan

_UPLOAD = re.compile(r"Total \((\d+) modules\)")
_SIZE = re.compile(r"Total Upload: ([\d.]+) KiB / gzip: ([\d.]+) KiB")
# When Cloudflare's own prices were read: those of models have dates of their own.
_PRICES_DATE = "2026-10-31"
_COSTS = (
    "$5.00 a month for Workers Paid, whatever runs on the account; nothing more while nobody asks:",
    "Durable Objects, R2, KV, queues, Workers AI and Dynamic Workers are billed by use, and what is",
    f"kept goes after SESSION_TTL_DAYS. Prices of {_PRICES_DATE}; ./scripts/usage tells what models cost.",
)
_FREE_COSTS = ("nothing: the Workers Free plan. Its 10 ms of CPU a request carry /health, not a run.",)


@dataclass(frozen=True, slots=True)
class Upload:
    """What wrangler has bundled: its output, and the figures in it."""

    output: str

    def sentence(self) -> str:
        modules, size = _UPLOAD.search(self.output), _SIZE.search(self.output)
        if modules is None or size is None:
            return "checked by wrangler (--verbose shows what it said)"
        whole, packed = float(size[1]) / 1024, float(size[2]) / 1024
        return f"{modules[1]} modules, {whole:.1f} MB, {packed:.1f} MB compressed (--verbose lists them)"


def overview(plan: Plan, account: Account | None, upload: Upload | None) -> str:
    """The whole page."""
    target = plan.target
    facts = [
        (
            "account",
            f"{account.name} ({account.id})" if account else "none is logged in: this is what a bare account would get",
        ),
        ("address", address(target, plan.found.subdomain)),
        ("plan", _plan_sentence(target)),
        ("needs", "R2 and Analytics Engine, each switched on once in the dashboard"),
        *([("upload", upload.sentence())] if upload else []),
    ]
    title = f"rlm-worker {__version__} → {target.worker} on Cloudflare"
    return "\n".join([title, "", *_columns(facts), "", *_columns(plan.rows()), "", *_costs(target)])


def address(target: Target, subdomain: str) -> str:
    return f"https://{target.worker}.{subdomain or '<your subdomain>'}.workers.dev"


def _plan_sentence(target: Target) -> str:
    if target.plan == "free":
        return "Workers Free: without limits.cpu_ms, and without the REPL"
    seconds = int(target.config.get("limits", {}).get("cpu_ms", 30_000)) // 1000
    return f'Workers Paid: {seconds} s of CPU a request (limits.cpu_ms), Dynamic Workers for strategy "repl"'


def _costs(target: Target) -> Iterator[str]:
    lines = _FREE_COSTS if target.plan == "free" else _COSTS
    yield from _columns([("idle" if not number else "", line) for number, line in enumerate(lines)])


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"  {left:<9}{right}".rstrip() for left, right in rows]
