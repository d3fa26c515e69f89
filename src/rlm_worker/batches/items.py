"""The items of a batch: where each stands, what it has cost, how it has ended.

An item waits until it is sent to the queue, is taken by a consumer, and ends completed or failed. Its body stays here:
messages name it only, so that nothing of a deleted batch lives on in the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlm_worker.errors import RLMError
from rlm_worker.wire.results import ErrorAnswer

from .tables import BatchTables

# An item that was taken so often without an end has something wrong with it.
MAX_ATTEMPTS = 30
_OPEN = ("waiting", "queued", "running")
# What the wire calls them.
_SHOWN = {"waiting": "queued", "rejected": "failed"}
_ENDED = frozenset({"completed", "failed", "rejected"})
_NO_RESULT = '{"success": false}'


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One item as it came in: the JSON of a valid request, or that of the error that it was rejected with."""

    body: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class TakenItem:
    """An item on its way through a consumer; `attempt` counts from 1."""

    owner: str
    body: str
    attempt: int


class BatchItems:
    """The rows of one batch's items; every method is one transaction and may be repeated."""

    def __init__(self, tables: BatchTables) -> None:
        self._tables = tables

    def add(self, first: int, entries: Sequence[BatchEntry], now: float) -> None:
        """Takes items in; the first one has the number `first`."""
        for number, entry in enumerate(entries, first):
            status = "rejected" if entry.error else "waiting"
            self._tables.execute("INSERT OR REPLACE INTO items VALUES (?, ?, 0, '', 0, ?)", number, status, now)
            self._tables.set_text(number, "result" if entry.error else "body", entry.error or entry.body)

    def waiting(self, most: int) -> list[int]:
        """Items that have not been sent to the queue, in their order."""
        rows = self._tables.execute("SELECT number FROM items WHERE status = 'waiting' ORDER BY number LIMIT ?", most)
        return [int(number or 0) for (number,) in rows]

    def move(self, numbers: Sequence[int], status: str, now: float, only_from: tuple[str, ...] = _OPEN) -> None:
        """Moves items on; those that are elsewhere by now stay there."""
        places = ", ".join("?" * len(only_from))
        change = f"UPDATE items SET status = ?, updated = ? WHERE number = ? AND status IN ({places})"  # noqa: S608
        for number in numbers:
            self._tables.execute(change, status, now, number, *only_from)

    def begin(self, number: int) -> int:
        """Counts one more attempt at an item that is open; gives its number, 0 where there is nothing to do."""
        if not self.is_open(number):
            return 0
        self._tables.execute("UPDATE items SET attempts = attempts + 1 WHERE number = ?", number)
        return int(self._tables.number("SELECT attempts FROM items WHERE number = ?", number))

    def uncount(self, number: int) -> None:
        """Takes an attempt back that came to nothing through no fault of the item's."""
        self._tables.execute("UPDATE items SET attempts = MAX(0, attempts - 1) WHERE number = ?", number)

    def characters(self, number: int) -> int:
        """How long an item is."""
        query = "SELECT TOTAL(LENGTH(text)) FROM texts WHERE number = ? AND kind = 'body'"
        return int(self._tables.number(query, number))

    def body(self, number: int) -> str:
        return self._tables.text(number, "body")

    def set_session(self, number: int, session: str) -> None:
        self._tables.execute("UPDATE items SET session = ? WHERE number = ?", session, number)

    def keep_result(self, number: int, cost: float, result: str) -> None:
        """Keeps how an attempt has ended; costs only grow."""
        self._tables.set_text(number, "result", result)
        self._tables.execute("UPDATE items SET cost = MAX(cost, ?) WHERE number = ?", cost, number)

    def give_up(self, number: int) -> bool:
        """Sees to it that an item that is tried no more has a result, its last one: whether that is an answer."""
        if not (last := self._tables.text(number, "result")):
            error = RLMError("the item could not be run, however often it was tried")
            last = ErrorAnswer.of(error).to_json()
            self._tables.set_text(number, "result", last)
        return bool(json.loads(last).get("success"))

    def revive(self, status: str, before: float) -> None:
        """Lets items of that status wait again of which nothing has been heard since `before`."""
        change = "UPDATE items SET status = 'waiting' WHERE status = ? AND updated <= ?"
        self._tables.execute(change, status, before)

    def is_open(self, number: int) -> bool:
        rows = self._tables.execute("SELECT status FROM items WHERE number = ?", number)
        return bool(rows) and rows[0][0] in _OPEN

    @property
    def unfinished(self) -> bool:
        """Whether some item has not ended."""
        query = "SELECT 1 FROM items WHERE status IN ('waiting', 'queued', 'running') LIMIT 1"
        return bool(self._tables.execute(query))

    def counts(self) -> Mapping[str, int]:
        """How many items there are of each status."""
        rows = self._tables.execute("SELECT status, COUNT(*) FROM items GROUP BY status")
        return {str(status): int(count or 0) for status, count in rows}

    def cost_usd(self) -> float:
        """What was paid: items that share a session were paid once."""
        return self._tables.number(
            "SELECT TOTAL(most) FROM (SELECT MAX(cost) AS most FROM items"
            " GROUP BY CASE session WHEN '' THEN number ELSE session END)"
        )

    def lines(self) -> Iterator[str]:
        """The results as lines of JSON, in the order of the input; of items that have not ended, where they stand.

        One line at a time is held, whatever changes meanwhile.
        """
        after = -1
        while rows := self._tables.execute(
            "SELECT number, status FROM items WHERE number > ? ORDER BY number LIMIT 1", after
        ):
            after = int(rows[0][0] or 0)
            yield self._line(after, str(rows[0][1]))

    def sessions(self, most: int) -> list[str]:
        """Some sessions that are to be removed, those that run first."""
        rows = self._tables.execute(
            "SELECT session FROM items WHERE session != '' GROUP BY session"
            " ORDER BY MAX(status = 'running') DESC LIMIT ?",
            most,
        )
        return [str(session) for (session,) in rows]

    def removed(self, sessions: Sequence[str]) -> None:
        """Notes that nothing is left of these."""
        for session in sessions:
            self._tables.execute("UPDATE items SET session = '' WHERE session = ?", session)

    def _line(self, number: int, status: str) -> str:
        """A result's fields beside its item's place; the result is JSON already, and may be long."""
        kept = self._tables.text(number, "result") if status in _ENDED else ""
        return f'{{"index": {number}, "status": "{_SHOWN.get(status, status)}", {(kept or _NO_RESULT)[1:]}\n'
