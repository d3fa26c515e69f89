"""What a session writes down about its REPLs: every cell before and after it runs, and every answer it was given.

A REPL is named by its path: empty for the run's own, `3.1` for the first child run that cell 3 began. With these rows a
lost isolate is built again by running its cells anew: all that they ask is answered from here, at no cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

from rlm_worker.ports import Interval

from .facts import Facts

Value = str | int | float | None
CellState = Literal["started", "finished", "lost"]

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS cells (
        path TEXT NOT NULL, number INTEGER NOT NULL, code TEXT NOT NULL, state TEXT NOT NULL, starts INTEGER NOT NULL,
        active_at REAL NOT NULL, waiting INTEGER NOT NULL, outcome TEXT, PRIMARY KEY (path, number)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS asked (
        path TEXT NOT NULL, number INTEGER NOT NULL, digest TEXT NOT NULL, answer TEXT NOT NULL,
        PRIMARY KEY (path, number, digest)) WITHOUT ROWID""",
    # A sandbox is billed for each day (UTC) on which it is used.
    """CREATE TABLE IF NOT EXISTS sandboxes (
        name TEXT NOT NULL, day INTEGER NOT NULL, path TEXT NOT NULL, opened_at REAL NOT NULL, cost_usd REAL NOT NULL,
        PRIMARY KEY (name, day)) WITHOUT ROWID""",
)
TABLES = ("cells", "asked", "sandboxes")
_SECONDS_PER_DAY = 86_400
# The facts that hold what is too long for a row, by path and number; and what is known of cells of an earlier session.
_CODE, _OUTCOME, _ASKED = "code ", "outcome ", "asked "
_INHERITED, _ORIGIN = "inherited", "origin "
_OWN = "#"  # with which the place of a cell begins that is in the session's own REPL
TEXTS = (_CODE, _OUTCOME, _ASKED, _INHERITED, _ORIGIN)
_COLUMNS = "number, code, state, starts, active_at, waiting, outcome"


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """What came of a cell.

    `read` are ranges of the context that it handed to models, `limits` the limits that it ran into, `lost` says why
    its isolate is gone if it is; cost is that of its own calls, without those of child runs. `cited` are ranges that
    it cited for the first time, `left` says what the run's limits left when it had ended, `turns_left` how many turns.
    """

    output: str
    failed: bool = False
    finished: bool = False
    final: object = None
    draft: str = ""
    variables: tuple[str, ...] = ()
    read: tuple[Interval, ...] = ()
    limits: tuple[tuple[str, float, float], ...] = ()
    cost_usd: float = 0.0
    duration_ms: int = 0
    lost: str = ""
    cited: tuple[Interval, ...] = ()
    left: str = ""
    turns_left: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> CellOutcome:
        facts = json.loads(text)
        for name in ("variables", "read", "limits", "cited"):
            facts[name] = tuple(tuple(item) if isinstance(item, list) else item for item in facts.get(name, ()))
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A cell as it is written down; `active_at` is when it last computed for certain, in seconds since the epoch."""

    number: int
    code: str
    state: CellState
    starts: int
    active_at: float
    waiting: bool
    outcome: CellOutcome | None


@dataclass(frozen=True, slots=True)
class Origin:
    """The session that wrote a cell which another one has taken over: what decides its chance, and its query."""

    seed: str
    query: str


class CellTable:
    """The cells of all REPLs of a session, in its SQLite."""

    def __init__(
        self,
        read: Callable[..., list[tuple[Value, ...]]],
        write: Callable[..., None],
        facts: Facts,
        now: Callable[[], float],
    ) -> None:
        self._read = read
        self._write = write
        self._facts = facts
        self._now = now

    def cells(self, path: str) -> list[CellRecord]:
        """The cells of one REPL, in order."""
        rows = self._read(f"SELECT {_COLUMNS} FROM cells WHERE path = ? ORDER BY number", path)  # noqa: S608 - a constant
        return [self._record(path, row) for row in rows]

    def cell(self, path: str, number: int) -> CellRecord | None:
        rows = self._read(f"SELECT {_COLUMNS} FROM cells WHERE path = ? AND number = ?", path, number)  # noqa: S608
        return self._record(path, rows[0]) if rows else None

    def start(self, path: str, number: int, code: str) -> None:
        """Notes, before it runs, that a cell runs."""
        kept = self._facts.fitting(f"{_CODE}{_place(path, number)}", code)
        self._write(
            "INSERT INTO cells VALUES (?, ?, ?, 'started', 1, ?, 0, NULL) ON CONFLICT (path, number) DO UPDATE SET"
            " starts = starts + 1, active_at = excluded.active_at, waiting = 0",
            *(path, number, kept, self._now()),
        )

    def wait(self, path: str, number: int, *, waiting: bool) -> None:
        """Notes that the cell waits for the session, or no longer does."""
        self._write(
            "UPDATE cells SET waiting = ?, active_at = ? WHERE path = ? AND number = ?",
            *(int(waiting), self._now(), path, number),
        )

    def finish(self, path: str, number: int, outcome: CellOutcome) -> None:
        """Notes what came of a cell; one whose isolate was lost is never run again."""
        state = "lost" if outcome.lost else "finished"
        kept = self._facts.fitting(f"{_OUTCOME}{_place(path, number)}", outcome.to_json())
        self._write(
            "UPDATE cells SET state = ?, outcome = ?, waiting = 0 WHERE path = ? AND number = ?",
            *(state, kept, path, number),
        )

    def inherited(self) -> int | None:
        """The number of the last cell of the session's own REPL that an earlier session wrote; None: not yet known."""
        known = self._facts.get(_INHERITED)
        return None if known is None else int(known)

    def set_inherited(self, last: int) -> None:
        self._facts.set(_INHERITED, str(last))

    def adopt(self, number: int, code: str, outcome: str, origin: Origin) -> None:
        """Takes over a cell that ended in an earlier session."""
        kept = self._facts.fitting(f"{_CODE}{_place('', number)}", code)
        told = self._facts.fitting(f"{_OUTCOME}{_place('', number)}", outcome)
        self._facts.set(f"{_ORIGIN}{number}", json.dumps([origin.seed, origin.query]))
        self._write(
            "INSERT OR REPLACE INTO cells VALUES ('', ?, ?, 'finished', 0, ?, 0, ?)", number, kept, self._now(), told
        )

    def forget_adopted(self) -> None:
        """Deletes what was taken over so far; before all of it is there, a session's own REPL has no other cells."""
        for table in ("cells", "asked"):
            self._write(f"DELETE FROM {table} WHERE path = ''")  # noqa: S608 - the names stand right above
        for texts in (_CODE, _OUTCOME, _ASKED):
            self._facts.forget(f"{texts}{_OWN}")
        self._facts.forget(_ORIGIN)

    def origin(self, number: int) -> Origin | None:
        """Where a cell of the session's own REPL comes from; None for one that the session itself wrote."""
        known = self._facts.get(f"{_ORIGIN}{number}")
        return Origin(*json.loads(known)) if known else None

    def answers(self, path: str, number: int) -> list[tuple[str, str]]:
        """All that a cell was answered, by the digest of what it asked."""
        rows = self._read("SELECT digest FROM asked WHERE path = ? AND number = ? ORDER BY digest", path, number)
        return [(str(digest), self.answer(path, number, str(digest)) or "[]") for (digest,) in rows]

    def is_paid(self, name: str) -> bool:
        """Whether the sandbox of that name was booked today."""
        rows = self._read("SELECT 1 FROM sandboxes WHERE name = ? AND day = ?", name, self._today())
        return bool(rows)

    def pay(self, name: str, path: str, usd: float) -> None:
        """Books the sandbox of that name for today, once."""
        self._write(
            "INSERT OR IGNORE INTO sandboxes VALUES (?, ?, ?, ?, ?)", name, self._today(), path, self._now(), usd
        )

    def _today(self) -> int:
        return int(self._now() // _SECONDS_PER_DAY)

    def answer(self, path: str, number: int, digest: str) -> str | None:
        """What a cell was answered when it asked this before."""
        rows = self._read("SELECT answer FROM asked WHERE path = ? AND number = ? AND digest = ?", path, number, digest)
        if not rows:
            return None
        return str(rows[0][0]) or self._facts.get(f"{_ASKED}{_place(path, number)} {digest}")

    def keep_answer(self, path: str, number: int, digest: str, answer: str) -> None:
        kept = self._facts.fitting(f"{_ASKED}{_place(path, number)} {digest}", answer)
        self._write("INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?)", path, number, digest, kept)

    def _record(self, path: str, row: tuple[Value, ...]) -> CellRecord:
        number, code, state, starts, active_at, waiting, outcome = row
        place = _place(path, int(number or 0))
        told = None if outcome is None else str(outcome) or self._facts.get(f"{_OUTCOME}{place}")
        return CellRecord(
            number=int(number or 0),
            code=str(code) or self._facts.get(f"{_CODE}{place}") or "",
            state=str(state),  # type: ignore[arg-type] # written by this class
            starts=int(starts or 0),
            active_at=float(active_at or 0),
            waiting=bool(waiting),
            outcome=CellOutcome.from_json(told) if told else None,
        )


def _place(path: str, number: int) -> str:
    return f"{path}#{number}"
