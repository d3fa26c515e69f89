"""The strict local platform: one list, and the page that shows it."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.local.platform.switches import KEPT, SWITCHES, Limits

PAGE = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## The strict local platform")[2].partition("\n## ")[0]
ROWS = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in SECTION.splitlines() if "| `" in line]


def test_page_lists_switches() -> None:
    shown = [(row[0], row[1], row[2], row[-1]) for row in ROWS if row[0].startswith("`RLM_")]
    listed = [(f"`{one.variable}`", f"{one.default:,.0f}", one.rule, f"`{one.test}`") for one in SWITCHES]
    assert shown == listed


def test_page_lists_kept_rules() -> None:
    shown = [row for row in ROWS if row[0] in {one.keeper for one in KEPT}]
    assert shown == [(one.keeper, one.rule, f"`{one.test}`") for one in KEPT]


def test_every_switch_is_read() -> None:
    asked: list[str] = []

    def read(name: str) -> str | None:
        asked.append(name)
        return None

    limits = Limits.from_vars(read)
    assert asked == [switch.variable for switch in SWITCHES]
    assert (limits.connections, limits.ai_connections, limits.subrequests) == (6, False, 10_000)


def test_zero_switches_off() -> None:
    limits = Limits.from_vars(lambda _: "0")
    assert limits.subrequests == limits.row_bytes == limits.alarm_seconds == float("inf")
    assert (limits.connections, limits.kv_seconds) == (0, 0)


def test_front_uses_no_cache() -> None:
    """The Cache API, whose calls would count too, is not wrapped: the Worker has no use for it."""
    source = Path(__file__).parents[2] / "src"
    assert not [
        path for path in source.rglob("*.py") if re.search(r"\bjs\.caches\b|\bcaches\.default\b", path.read_text())
    ]
