"""The Worker, its sandboxes, its snapshot and what stands beside them in tests run on one version of the platform."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATE = re.compile(r"""compatibility_?date["']?\s*[:=]\s*["'](\d{4}-\d\d-\d\d)["']""", re.IGNORECASE)
DEPLOYED = tomllib.loads((ROOT / "wrangler.toml").read_text(encoding="utf-8"))["compatibility_date"]


def dated() -> dict[str, set[str]]:
    """Every file of the project that names a compatibility date, and those that it names."""
    files = [
        ROOT / "wrangler.toml",
        *(path for part in ("src", "scripts", "tests") for path in (ROOT / part).rglob("*")),
    ]
    sources = [path for path in files if path.suffix in {".py", ".mjs", ".toml"}]
    found = {path: set(DATE.findall(path.read_text(encoding="utf-8"))) for path in sources}
    return {str(path.relative_to(ROOT)): dates for path, dates in found.items() if dates}


@pytest.mark.parametrize("path", sorted(dated()))
def test_dates_agree(path: str) -> None:
    assert dated()[path] == {DEPLOYED}


def test_places_are_found() -> None:
    expected = {"wrangler.toml", "src/rlm_worker/adapters/sandbox.py", "scripts/local/setup/snapshot.py"}
    assert expected <= dated().keys()
