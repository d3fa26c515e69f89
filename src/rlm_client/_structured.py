"""Answers as values of a type, whose JSON Schema goes with the request; and a table's rows, as values and as frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Generic, TypeVar, overload

import pydantic

from ._errors import RequestError
from ._models import RLMResult, Row, Value, parse

ModelT = TypeVar("ModelT")


class ParsedResult(RLMResult, Generic[ModelT]):
    """A result whose answer is a value of the `response_model` that was asked for."""

    _parsed: ModelT = pydantic.PrivateAttr()

    @property
    def parsed(self) -> ModelT:
        """The answer as a value."""
        return self._parsed


def parsed_result(result: RLMResult, response_model: type[ModelT]) -> ParsedResult[ModelT]:
    """Return the result with its answer as a value; raises `AnswerInvalidError` where it is none."""
    value = result.parse_as(response_model)
    parsed = ParsedResult[ModelT].model_validate(result.to_json())
    parsed._parsed = value  # noqa: SLF001 - its own, which is nobody's to give
    return parsed


def schema_of(response_model: type[object]) -> Mapping[str, object]:
    """Return the JSON Schema of a pydantic class, or of anything that pydantic understands: dataclasses, `list[int]`.

    Raises `RequestError` for what it does not.
    """
    try:
        return pydantic.TypeAdapter(response_model).json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise RequestError(f"{response_model!r} has no JSON Schema: {error.message}") from None


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
