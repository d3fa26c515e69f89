"""Batches on the wire: what comes in, how far a batch is, and a line for each item."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from .base import Answer
from .requests import RunRequest
from .results import ErrorBody

MAX_BATCH_ITEMS = 10_000


class BatchBody(RootModel[Annotated[list[RunRequest], Field(min_length=1, max_length=MAX_BATCH_ITEMS)]]):
    """The body of `POST /rlm/batch` as JSON; an item that is not of this form is rejected alone."""


class BatchAccepted(Answer):
    """A batch that was taken; `rejected` items are in its results, with their error."""

    success: Literal[True] = True
    batch_id: str
    total: int
    accepted: int
    rejected: int


class BatchState(Answer):
    """How far a batch is: items by state; `failed` counts the rejected ones too."""

    batch_id: str
    status: Literal["running", "completed"]
    total: int
    accepted: int
    rejected: int
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int = 0
    cost_usd: float
    created_at: str
    updated_at: str


ItemStatus = Literal["queued", "running", "completed", "failed"]


class BatchLine(Answer):
    """One line of a batch's results: the item's place in the input, and its result's fields beside it."""

    index: int
    status: ItemStatus
    success: bool
    answer: str | None = None
    cost_usd: float = 0.0
    error: ErrorBody | None = None
