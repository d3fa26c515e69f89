"""All rows of the tables that a run has read from its context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, overload

from ._models import Row, Value, parse


class Rows(Sequence[Row]):
    """All rows of a run's tables, in the order of the text."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Row | Rows:
        return Rows(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return (
            f"<{len(self._rows):,} rows of {', '.join(dict.fromkeys(row.table for row in self._rows)) or 'no table'}>"
        )

    def dicts(self) -> list[dict[str, Value]]:
        """Return each row's values by column."""
        return [dict(row.values) for row in self._rows]

    def to_pandas(self) -> Any:  # noqa: ANN401 - a library that need not be there
        """Return the values as a DataFrame of pandas, which must be installed."""
        return _library("pandas").DataFrame(self.dicts())

    def to_polars(self) -> Any:  # noqa: ANN401 - the same
        """Return the values as a DataFrame of polars, which must be installed."""
        return _library("polars").DataFrame(self.dicts(), infer_schema_length=None)


def rows_of(lines: str) -> Rows:
    """Read rows as JSONL."""
    return Rows([parse(Row, line) for line in lines.split("\n") if line.strip()])


def _library(name: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f"{name} is not installed: pip install {name}") from None
