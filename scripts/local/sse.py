"""Server-sent events, as far as the demo reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, and its data as a JSON object."""

    name: str
    data: Mapping[str, object]


def events(lines: Iterable[str]) -> Iterator[Event]:
    """The events in the lines of a stream; comments and unfinished events are passed over."""
    name, data = "message", ""
    for line in lines:
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data += value.strip()
        elif not line and data:
            yield Event(name, json.loads(data))
            name, data = "message", ""
