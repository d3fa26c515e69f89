"""How a context is read, by the names that callers and rules have for it."""

from __future__ import annotations

from typing import Literal

StrategyName = Literal["auto", "direct", "map_reduce", "repl", "table"]
