"""The words for models that extract and query. No prompt holds an example: its content would come back as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlm_worker.messages import Message
from rlm_worker.text.chunks import Chunk

from .records import Record
from .schema import Schema, Table

TABLE_PROMPT_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Failed:
    """What a model replied, and what was wrong with it, in a sentence for the model."""

    reply: str
    problem: str


@dataclass(frozen=True, slots=True)
class QueryTask:
    """What the root sees when it writes SQL: `definitions` of the tables, some rows as JSON, how many there are."""

    question: str
    definitions: str
    samples: Sequence[str]
    counts: str


def plan_messages(
    question: str, samples: Sequence[str], *, instructions: str = "", failed: Failed | None = None
) -> tuple[Message, ...]:
    """Asks the root to split a question and to write the schema: JSON `{"extract": …, "tables": […]}`.

    `samples` are parts of the context, from its head, middle and tail.
    """
    raise NotImplementedError


def reading_messages(extract: str, schema: Schema, chunk: Chunk) -> tuple[Message, ...]:
    """Asks a reader for the rows of one chunk as JSON; `extract` never holds what is computed."""
    raise NotImplementedError


def line_messages(extract: str, table: Table, records: Sequence[Record]) -> tuple[Message, ...]:
    """Asks a weak reader for a line for each numbered record that counts: its number and the values."""
    raise NotImplementedError


def query_messages(task: QueryTask, failed: Sequence[Failed] = ()) -> tuple[Message, ...]:
    """Asks the root for `pick` and `compute`: JSON `{"pick": …, "compute": …}`; with what it has tried before."""
    raise NotImplementedError


def prose_messages(question: str, result: str, instructions: str | None = None) -> tuple[Message, ...]:
    """Asks for the answer in words, with the result's numbers and no others."""
    raise NotImplementedError
