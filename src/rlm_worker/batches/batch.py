"""A batch of requests: its items, where each stands, and what it has cost; kept in SQLite.

An item waits until it is sent to the queue, is taken by a consumer, and ends completed or failed. Its body stays here:
messages name it only, so that nothing of a deleted batch lives on in the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rlm_worker.errors import Conflict, NotFound
from rlm_worker.ports import Cell, Database
from rlm_worker.wire.batches import BatchAccepted, BatchState

# An item that was taken so often without an end has something wrong with it.
MOST_ATTEMPTS = 30
# A row may have 2 MB; longer texts are cut into parts of this many characters, four bytes each at most.
_PART = 400_000
_PAGE = 100
_OPEN = ("waiting", "queued", "running")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS items (number INTEGER PRIMARY KEY, status TEXT NOT NULL, attempts INTEGER NOT NULL,"
        " session TEXT NOT NULL, cost REAL NOT NULL, updated REAL NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS by_status ON items (status)",
    (
        "CREATE TABLE IF NOT EXISTS texts (number INTEGER NOT NULL, kind TEXT NOT NULL, part INTEGER NOT NULL,"
        " text TEXT NOT NULL, PRIMARY KEY (number, kind, part))"
    ),
)


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


class Batch:
    """The books of one batch; every method is one transaction and may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._created = bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'"))

    @property
    def status(self) -> str:
        """`absent`, `receiving`, `running` or `deleting`."""
        return self._fact("status") or "absent"

    def check_owner(self, owner: str) -> None:
        """Raises `NotFound` for a batch of another key, one that is not complete yet and one that is going."""
        if self.status != "running" or self._fact("owner") != owner:
            raise NotFound("there is no such batch")

    # Coming in.

    def open(self, batch_id: str, owner: str, token: str, now: float) -> None:
        """Begins to receive items from who holds `token`; what an attempt that broke off has left is dropped."""
        self._create()
        for table in ("items", "texts", "facts"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand right above
        for name, value in {"id": batch_id, "owner": owner, "token": token, "status": "receiving"}.items():
            self._set_fact(name, value)
        self._set_fact("created", str(now))
        self._set_fact("updated", str(now))

    def check_token(self, token: str) -> None:
        """Raises `Conflict` where somebody else has begun to send the same batch meanwhile."""
        if self._fact("token") != token:
            raise Conflict("this batch is being sent twice at once")

    def add(self, first: int, entries: Sequence[BatchEntry], now: float) -> None:
        """Takes items in; the first one has the number `first`."""
        for number, entry in enumerate(entries, first):
            status = "rejected" if entry.error else "waiting"
            self._execute("INSERT OR REPLACE INTO items VALUES (?, ?, 0, '', 0, ?)", number, status, now)
            self._set_text(number, "result" if entry.error else "body", entry.error or entry.body)

    def seal(self, digest: str, now: float) -> BatchAccepted:
        """Ends receiving: the batch runs."""
        self._set_fact("digest", digest)
        self._set_fact("status", "running")
        self._touch(now)
        return self.accepted()

    @property
    def id(self) -> str:
        return self._fact("id")

    @property
    def digest(self) -> str:
        return self._fact("digest")

    def accepted(self) -> BatchAccepted:
        counts = self._counts()
        total, rejected = sum(counts.values()), counts.get("rejected", 0)
        return BatchAccepted(batch_id=self.id, total=total, accepted=total - rejected, rejected=rejected)

    # Going through.

    def waiting(self, most: int) -> list[int]:
        """Items that have not been sent to the queue, in their order."""
        rows = self._execute("SELECT number FROM items WHERE status = 'waiting' ORDER BY number LIMIT ?", most)
        return [int(number or 0) for (number,) in rows]

    def sent(self, numbers: Sequence[int], now: float) -> None:
        """Notes that these are in the queue; one that a consumer has taken meanwhile stays taken."""
        for number in numbers:
            self._move(number, "queued", now, only_from=("waiting",))

    def unsent(self, numbers: Sequence[int], now: float) -> None:
        """Notes that the queue did not take these."""
        for number in numbers:
            self._move(number, "waiting", now, only_from=("queued",))

    def take(self, number: int, now: float) -> TakenItem | None:
        """The item, for a consumer to work on; None where there is nothing left to do."""
        if self.status != "running":
            return None
        rows = self._execute("SELECT status, attempts FROM items WHERE number = ?", number)
        if not rows or rows[0][0] not in _OPEN:
            return None
        attempt = int(rows[0][1] or 0) + 1
        self._execute("UPDATE items SET attempts = ? WHERE number = ?", attempt, number)
        if attempt > MOST_ATTEMPTS:
            self.bury(number, now)
            return None
        self._move(number, "running", now)
        return TakenItem(self._fact("owner"), self._text(number, "body"), attempt)

    def started(self, number: int, session: str) -> bool:
        """Notes the session that answers an item; False where it is not to be run after all."""
        if self.status != "running":
            return False
        self._execute("UPDATE items SET session = ? WHERE number = ?", session, number)
        return True

    def deferred(self, number: int, cost: float, result: str, now: float) -> bool:
        """Notes that an attempt failed and another one may not; keeps the failure in case that there is none.

        False where the batch is gone, so that nobody will ever ask for what the item has left.
        """
        return self._keep(number, "queued", cost, result, now)

    def finished(self, number: int, cost: float, result: str, *, success: bool, now: float) -> bool:
        """Notes how an item has ended: the JSON of its result; False where the batch is gone."""
        return self._keep(number, "completed" if success else "failed", cost, result, now)

    def bury(self, number: int, now: float) -> None:
        """Ends an item that the queue has given up; its last failure is its result."""
        if self.status != "running" or not self._is_open(number):
            return
        if not self._text(number, "result"):
            error = {"type": "internal_error", "message": "the item could not be run, however often it was tried"}
            self._set_text(number, "result", json.dumps({"success": False, "error": error}))
        self._move(number, "failed", now)

    def revive(self, now: float, stall_seconds: float) -> None:
        """Lets items wait again of which nothing has been heard for too long; a second consumer joins the first's run.

        Those in the queue may just have many before them: they count as lost when nothing at all has moved.
        """
        late = now - stall_seconds
        self._execute("UPDATE items SET status = 'waiting' WHERE status = 'running' AND updated <= ?", late)
        if self.updated <= late:
            self._execute("UPDATE items SET status = 'waiting' WHERE status = 'queued'")

    # Looking at it.

    def state(self) -> BatchState:
        counts = self._counts()
        failed = counts.get("failed", 0) + counts.get("rejected", 0)
        return BatchState(
            **self.accepted().model_dump(exclude={"success"}),
            status="running" if self.unfinished else "completed",
            queued=counts.get("queued", 0) + counts.get("waiting", 0),
            running=counts.get("running", 0),
            completed=counts.get("completed", 0),
            failed=failed,
            cost_usd=round(self._cost(), 10),
            created_at=_timestamp(float(self._fact("created") or 0)),
            updated_at=_timestamp(float(self._fact("updated") or 0)),
        )

    @property
    def unfinished(self) -> bool:
        """Whether some item has not ended."""
        return bool(self._execute("SELECT 1 FROM items WHERE status IN ('waiting', 'queued', 'running') LIMIT 1"))

    @property
    def updated(self) -> float:
        """When something moved last, in seconds since the epoch."""
        return float(self._fact("updated") or 0)

    def lines(self) -> Iterator[str]:
        """The results as lines of JSON, in the order of the input; of items that have not ended, where they stand."""
        after = -1
        while rows := self._execute(
            "SELECT number, status FROM items WHERE number > ? ORDER BY number LIMIT ?", after, _PAGE
        ):
            yield "".join(self._line(int(number or 0), str(status)) for number, status in rows)
            after = int(rows[-1][0] or 0)

    # Going.

    def sessions(self, most: int) -> tuple[str, list[str]]:
        """The owner, and some sessions that are to be removed, those that run first."""
        rows = self._execute(
            "SELECT session FROM items WHERE session != '' GROUP BY session"
            " ORDER BY MAX(status = 'running') DESC LIMIT ?",
            most,
        )
        return self._fact("owner"), [str(session) for (session,) in rows]

    def removed(self, sessions: Sequence[str]) -> None:
        """Notes that nothing is left of these."""
        for session in sessions:
            self._execute("UPDATE items SET session = '' WHERE session = ?", session)

    def leave(self) -> None:
        """Stops everything: no item is taken any more."""
        self._set_fact("status", "deleting")

    def forget(self) -> None:
        """To be called when the storage underneath was emptied."""
        self._created = False

    # How it is kept.

    def _line(self, number: int, status: str) -> str:
        shown = {"waiting": "queued", "rejected": "failed"}.get(status, status)
        kept = self._text(number, "result") if status in ("completed", "failed", "rejected") else ""
        result = json.loads(kept) if kept else {"success": False}
        return json.dumps({"index": number, "status": shown, **result}, ensure_ascii=False) + "\n"

    def _keep(self, number: int, status: str, cost: float, result: str, now: float) -> bool:
        if self.status != "running":
            return False
        if self._is_open(number):
            self._set_text(number, "result", result)
            self._execute("UPDATE items SET cost = MAX(cost, ?) WHERE number = ?", cost, number)
            self._move(number, status, now)
        return True

    def _is_open(self, number: int) -> bool:
        rows = self._execute("SELECT status FROM items WHERE number = ?", number)
        return bool(rows) and rows[0][0] in _OPEN

    def _move(self, number: int, status: str, now: float, only_from: tuple[str, ...] = _OPEN) -> None:
        places = ", ".join("?" * len(only_from))
        change = f"UPDATE items SET status = ?, updated = ? WHERE number = ? AND status IN ({places})"  # noqa: S608
        self._execute(change, status, now, number, *only_from)
        self._touch(now)

    def _counts(self) -> dict[str, int]:
        rows = self._execute("SELECT status, COUNT(*) FROM items GROUP BY status")
        return {str(status): int(count or 0) for status, count in rows}

    def _cost(self) -> float:
        """What was paid: items that share a session were paid once."""
        rows = self._execute(
            "SELECT TOTAL(most) FROM (SELECT MAX(cost) AS most FROM items"
            " GROUP BY CASE session WHEN '' THEN number ELSE session END)"
        )
        return float(rows[0][0] or 0) if rows else 0.0

    def _text(self, number: int, kind: str) -> str:
        rows = self._execute("SELECT text FROM texts WHERE number = ? AND kind = ? ORDER BY part", number, kind)
        return "".join(str(text) for (text,) in rows)

    def _set_text(self, number: int, kind: str, text: str) -> None:
        self._execute("DELETE FROM texts WHERE number = ? AND kind = ?", number, kind)
        for part, start in enumerate(range(0, len(text), _PART)):
            self._execute("INSERT INTO texts VALUES (?, ?, ?, ?)", number, kind, part, text[start : start + _PART])

    def _fact(self, name: str) -> str:
        rows = self._execute("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def _set_fact(self, name: str, value: str) -> None:
        self._execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def _touch(self, now: float) -> None:
        self._set_fact("updated", str(now))

    def _create(self) -> None:
        for statement in _SCHEMA:
            self._database.execute(statement)
        self._created = True

    def _execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        """A batch that is only asked about, or gone, leaves nothing behind."""
        return self._database.execute(statement, *values) if self._created else []


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
