"""The answer in words: its numbers are the result's, copied by code."""

from __future__ import annotations

from dataclasses import dataclass

from .sql import QueryResult


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer; `replaced`: the prose held a number that is not in the result, and the result stands instead."""

    text: str
    replaced: bool = False
    at_least: bool = False


def result_text(result: QueryResult) -> str:
    """The result of a query as text: a value alone, or lines under the names of the columns."""
    raise NotImplementedError


def foreign_numbers(prose: str, result: QueryResult, question: str = "") -> list[str]:
    """The numbers of a model's prose that stand neither in the result nor in the question."""
    raise NotImplementedError


def answer_text(
    result: QueryResult, prose: str = "", *, question: str = "", coverage: float = 1.0, failed_chunks: int = 0
) -> Answered:
    """What is answered: the prose where its numbers are the result's, else the result itself.

    With coverage below 1 or failed chunks it says "at least"; nothing found is then unknown, and not 0.
    """
    raise NotImplementedError
