"""What a run has used and cost, as tables of people."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from rlm_worker.wire.results import ModelUsage, RunResult

from .markup import element, plain

_COLUMNS = ("model", "calls", "tokens in", "of these cached", "tokens out", "of these thought", "cost")


def money(usd: float, *, estimated: bool = False) -> str:
    """US dollars: cents, below a dollar millionths where there are any; an estimate is said to be one."""
    whole, _, fraction = f"{usd:,.6f}".partition(".")
    text = f"${usd:,.2f}" if usd >= 1 else f"${whole}.{fraction.rstrip('0'):0<2}"
    if 0 < usd < 0.000_001:
        text = "less than $0.000001"
    return f"about {text} (part of it estimated)" if estimated else text


def seconds(milliseconds: int) -> str:
    """A duration as people say it."""
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.1f} s"
    return f"{milliseconds // 60_000:,} min {milliseconds // 1_000 % 60} s"


def cost(result: RunResult) -> Element:
    """What each model did, and the sum."""
    head = element("tr", *[element("th", name, class_=_kind(name), scope="col") for name in _COLUMNS])
    rows = [_row(usage) for usage in result.models]
    if result.sandboxes:
        rows.append(_cells(["sandboxes", f"{result.sandboxes:,}", "", "", "", "", money(result.sandbox_cost_usd)]))
    total = ["together", "", *_tokens(result), money(result.cost_usd, estimated=result.estimated)]
    table = element("table", element("thead", head), element("tbody", *rows), element("tfoot", _cells(total)))
    known = element("p", _paid(result), class_="soft")
    return element("section", element("h2", "Cost"), element("div", table, class_="wide"), known, id="cost")


def _row(usage: ModelUsage) -> Element:
    tokens = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens)
    counts = [f"{count:,}" for count in tokens]
    paid = money(usage.cost_usd, estimated=usage.estimated)
    return _cells([plain(usage.model), f"{usage.calls:,}", *counts, paid])


def _tokens(result: RunResult) -> list[str]:
    counts = (
        result.total_input_tokens,
        result.cached_input_tokens,
        result.total_output_tokens,
        result.reasoning_tokens,
    )
    return [f"{count:,}" for count in counts]


def _cells(texts: list[str]) -> Element:
    cells = zip(texts, _COLUMNS, strict=True)
    return element("tr", *[element("td", text, class_=_kind(name)) for text, name in cells])


def _kind(column: str) -> str | None:
    return None if column == "model" else "number"


def _paid(result: RunResult) -> str:
    if result.cache_hit:
        return "This answer came from the cache: nothing was paid for it again."
    return "Everything that was paid for the run: repeated, empty and broken-off calls too."
