"""The lines of a batch's results."""

from __future__ import annotations

from collections.abc import Mapping

from rlm_client._errors import ProtocolError
from rlm_client._events import read_json
from rlm_client._models import RLMResult


class BatchItem(RLMResult):
    """The outcome of one item of a batch: a result, and the item's place in the input, counted from 0."""

    index: int


def batch_items(lines: str) -> list[BatchItem]:
    """Read results as JSONL, one line per item in input order; an item may hold its result or be it."""
    return [_item(number, line) for number, line in enumerate(filter(str.strip, lines.split("\n")))]


def _item(number: int, line: str) -> BatchItem:
    body = read_json(line, lambda: None)
    if not isinstance(body, Mapping):
        raise ProtocolError(f"Line {number + 1} of the batch's results is not a JSON object.")
    inner = body.get("result")
    fields = {"index": number, **body, **(inner if isinstance(inner, Mapping) else {})}
    return BatchItem.model_validate({key: value for key, value in fields.items() if key != "result"})
