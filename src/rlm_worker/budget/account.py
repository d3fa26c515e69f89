"""What one API key, or a whole deployment, may spend in a day and run at once, counted exactly.

Dollars are handed out before they are spent: a run holds a grant, and what is spent today plus all open grants never
passes the cap. A run that ends books what it really cost. One that is never heard of again keeps its slot until its
lease runs out; then its whole grant is presumed spent, until somebody who knows better says otherwise: what was not
spent goes back to the day on which it was presumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlm_worker.errors import RateLimited
from rlm_worker.ports import Cell, Database
from rlm_worker.wire.results import AccountState

# A lease outlives an alarm, which renews it; the first is short, for a run that dies before it has written anything.
LEASE_SECONDS = 1_200.0
FIRST_LEASE_SECONDS = 120.0
_SECONDS_PER_DAY = 86_400
# Closed runs are remembered for as long as one may be taken up again, so that nothing is booked twice.
_MEMORY_SECONDS = 60 * _SECONDS_PER_DAY
# Grants come in slices of the cap, so that a run asks once for many calls; without one they are as small, because a
# grant is presumed spent where its run is lost, and stands in the way of others where a cap is set later.
_SLICES, _UNCAPPED_SLICE_USD = 100, 0.25
_NO_CAP = 1e12
_SLOT_RETRY_SECONDS = 5
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS runs (run TEXT PRIMARY KEY, granted REAL NOT NULL, booked REAL NOT NULL,
        expires_at REAL NOT NULL, is_open INTEGER NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS days (day INTEGER PRIMARY KEY, spent REAL NOT NULL)",
    # Runs whose lease ran out and that were not closed: the dollars of their grants that were booked for that.
    """CREATE TABLE IF NOT EXISTS presumed (run TEXT NOT NULL, day INTEGER NOT NULL, usd REAL NOT NULL,
        PRIMARY KEY (run, day))""",
    # What ops have set for this key alone: one row at most.
    "CREATE TABLE IF NOT EXISTS own_limit (one INTEGER PRIMARY KEY CHECK (one = 1), daily_usd REAL NOT NULL)",
)
# Sums of dollars are floating point numbers.
_DUST_USD = 1e-9


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What a key may: US dollars in a day (UTC), runs at once; None where there is no limit."""

    daily_usd: float | None = None
    concurrent_runs: int | None = None


@dataclass(frozen=True, slots=True)
class _Lease:
    """A run: dollars granted and booked since it began, and whether it goes on."""

    run: str
    granted: float = 0.0
    booked: float = 0.0
    is_open: bool = False


class Account:
    """The books of one key, or of all (`whose` stands in refusals); every method is one transaction.

    Books that `adopt` take in a run that they do not know when it asks for more: it was begun before they were kept.
    """

    def __init__(
        self, database: Database, limits: AccountLimits, whose: str = "this key", *, adopts: bool = False
    ) -> None:
        self._database = database
        self._adopts = adopts
        self._defaults = limits
        self._whose = whose
        for statement in _SCHEMA:
            database.execute(statement)
        self._limits = self._own_limits()

    @property
    def _cap(self) -> float:
        return _NO_CAP if self._limits.daily_usd is None else self._limits.daily_usd

    @property
    def _slice_usd(self) -> float:
        return _UNCAPPED_SLICE_USD if self._limits.daily_usd is None else self._limits.daily_usd / _SLICES

    def limit_daily(self, usd: float | None) -> None:
        """Sets what may be spent in a day, 0 for no limit; None goes back to what holds for every key."""
        if usd is None:
            self._database.execute("DELETE FROM own_limit")
        else:
            self._database.execute("INSERT OR REPLACE INTO own_limit VALUES (1, ?)", usd)
        self._limits = self._own_limits()

    def open(self, run: str, usd: float, now: float, *, resumed: bool = False) -> float:
        """Takes a slot for a run and up to `usd` dollars; gives the dollars that it may have spent in all.

        Asking twice is asking once. Raises `RateLimited` where no slot or nothing of the day's dollars is left; a run
        that is `resumed` keeps its slot.
        """
        self._expire(now)
        lease = self._lease(run)
        if not lease.is_open and not resumed:
            self._check_slot()
        lease = self._revived(lease, now)
        granted = max(lease.granted, min(lease.booked + usd, self._allowed(lease, now)))
        if granted <= lease.booked and not resumed:
            raise self._nothing_left(now)
        return self._keep(lease, granted, now + FIRST_LEASE_SECONDS)

    def extend(self, run: str, total: float, now: float) -> float:
        """Raises a run's grant so that it may have spent `total` dollars, if the day allows; gives what it may.

        A run that goes on keeps its slot by asking, one whose lease ran out takes it again. One that was closed, or
        never opened, stays so, unless it is adopted. Whoever asks for a `total` above zero has spent no more than that,
        and from then on spends no more than it is given, which is less than before where the day has less left: after a
        cap was lowered, or after a lease that ran out on another day. With zero only the lease is renewed.
        """
        self._expire(now)
        lease = self._lease(run)
        if not lease.is_open:
            if not self._presumed(run) and not (self._adopts and self._is_unknown(run)):
                return lease.granted
            lease = self._revived(lease, now)
        allowed = self._allowed(lease, now)
        if total <= 0 or (total <= lease.granted <= allowed + _DUST_USD):
            return self._keep(lease, lease.granted, now + LEASE_SECONDS)
        if total > allowed + _DUST_USD or lease.granted > allowed:
            # What it may have spent already stays covered; what it may still spend does not grow.
            self._keep(lease, min(lease.granted, max(total, allowed)), now + LEASE_SECONDS)
            return min(lease.granted, max(0.0, allowed))
        granted = min(allowed, max(total, lease.granted + self._slice_usd))
        return self._keep(lease, granted, now + LEASE_SECONDS)

    def close(self, run: str, total: float, now: float) -> None:
        """Books what a run has cost since it began, and frees its slot and the rest of its grant; may be repeated."""
        self._expire(now)
        lease = self._lease(run)
        booked = lease.booked - self._give_back(run, lease.booked - total)
        self._book(_Lease(run, booked=booked), max(total, booked), now)

    def state(self, now: float) -> dict[str, object]:
        """Today's dollars and the runs that go on, beside the limits."""
        self._expire(now)
        state = AccountState(
            spent_today_usd=round(self._spent(now), 10),
            granted_usd=round(self._outstanding(), 10),
            daily_usd=self._limits.daily_usd,
            runs=self._open_runs(),
            concurrent_runs=self._limits.concurrent_runs,
        )
        return state.model_dump(by_alias=True)

    def _own_limits(self) -> AccountLimits:
        """What holds for every key, with the dollars that ops have set for this one where they have."""
        rows = self._database.execute("SELECT daily_usd FROM own_limit")
        if not rows:
            return self._defaults
        return AccountLimits(float(rows[0][0] or 0) or None, self._defaults.concurrent_runs)

    def _check_slot(self) -> None:
        most = self._limits.concurrent_runs
        if most is not None and self._open_runs() >= most:
            raise RateLimited(f"concurrent run limit reached for {self._whose} ({most})", _SLOT_RETRY_SECONDS)

    def _nothing_left(self, now: float) -> RateLimited:
        midnight = int(_SECONDS_PER_DAY - now % _SECONDS_PER_DAY) + 1
        return RateLimited(f"daily spending limit reached for {self._whose} (${self._limits.daily_usd:g})", midnight)

    def _allowed(self, lease: _Lease, now: float) -> float:
        """What a run may have spent in all, if it takes everything that nobody else has."""
        return lease.booked + self._cap - self._spent(now) - self._outstanding(beside=lease.run)

    def _expire(self, now: float) -> None:
        """Presumes the whole grant spent, by the end of its lease, of runs that were not heard of since."""
        late = self._database.execute(
            "SELECT run, granted, booked, is_open, expires_at FROM runs WHERE is_open = 1 AND expires_at <= ?", now
        )
        for *row, expires_at in late:
            lease, end = _lease_of(tuple(row)), float(expires_at or 0)
            total = max(lease.granted, lease.booked)
            self._book(lease, total, end)
            self._presume(lease.run, total - lease.booked, _day(end))
        self._database.execute("DELETE FROM runs WHERE is_open = 0 AND expires_at <= ?", now - _MEMORY_SECONDS)
        self._database.execute("DELETE FROM presumed WHERE day < ?", _day(now - _MEMORY_SECONDS))

    def _book(self, lease: _Lease, total: float, now: float) -> None:
        """Books what a run has spent beyond what was booked, on the day of `now`, and frees its slot."""
        self._add(_day(now), total - lease.booked)
        self._write(_Lease(lease.run, total, total), now)

    def _add(self, day: int, usd: float) -> None:
        self._database.execute("INSERT OR REPLACE INTO days VALUES (?, ?)", day, max(0.0, self._spent_on(day) + usd))

    def _presume(self, run: str, usd: float, day: int) -> None:
        self._database.execute(
            "INSERT INTO presumed VALUES (?, ?, ?) ON CONFLICT (run, day) DO UPDATE SET usd = usd + excluded.usd",
            *(run, day, usd),
        )

    def _revived(self, lease: _Lease, now: float) -> _Lease:
        """A lease as it was before it ran out, as far as today allows; any other as it is."""
        if not self._presumed(lease.run):
            return lease
        back = self._give_back(lease.run, lease.booked)
        lease = _Lease(lease.run, lease.granted, lease.booked - back)
        return _Lease(lease.run, min(lease.granted, self._allowed(lease, now)), lease.booked)

    def _presumed(self, run: str) -> list[tuple[int, float]]:
        """The days on which a run's lease ran out, the last first, and what was booked for that."""
        rows = self._database.execute("SELECT day, usd FROM presumed WHERE run = ? ORDER BY day DESC", run)
        return [(int(day or 0), float(usd or 0)) for day, usd in rows]

    def _give_back(self, run: str, usd: float) -> float:
        """Gives back, to the days that it was taken from, what was presumed and not spent; how much that was."""
        given = 0.0
        for day, presumed in self._presumed(run):
            part = max(0.0, min(presumed, usd - given))
            self._add(day, -part)
            given += part
        self._database.execute("DELETE FROM presumed WHERE run = ?", run)
        return given

    def _keep(self, lease: _Lease, granted: float, expires_at: float) -> float:
        self._write(_Lease(lease.run, granted, lease.booked, is_open=True), expires_at)
        return granted

    def _write(self, lease: _Lease, expires_at: float) -> None:
        row = (lease.run, lease.granted, lease.booked, expires_at, int(lease.is_open))
        self._database.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", *row)

    def _is_unknown(self, run: str) -> bool:
        return not self._database.execute("SELECT 1 FROM runs WHERE run = ?", run)

    def _lease(self, run: str) -> _Lease:
        rows = self._database.execute("SELECT run, granted, booked, is_open FROM runs WHERE run = ?", run)
        return _lease_of(rows[0]) if rows else _Lease(run)

    def _spent(self, now: float) -> float:
        return self._spent_on(_day(now))

    def _spent_on(self, day: int) -> float:
        return self._number("SELECT spent FROM days WHERE day = ?", day)

    def _outstanding(self, *, beside: str = "") -> float:
        """Dollars granted to runs that go on and not yet booked, one run left out."""
        return self._number("SELECT TOTAL(MAX(0, granted - booked)) FROM runs WHERE is_open = 1 AND run <> ?", beside)

    def _open_runs(self) -> int:
        return int(self._number("SELECT COUNT(*) FROM runs WHERE is_open = 1"))

    def _number(self, query: str, *values: Cell) -> float:
        rows = self._database.execute(query, *values)
        return float(rows[0][0] or 0) if rows else 0.0


def _lease_of(row: tuple[Cell, ...]) -> _Lease:
    run, granted, booked, is_open = row
    return _Lease(str(run), float(granted or 0), float(booked or 0), bool(is_open))


def _day(now: float) -> int:
    """Days since the epoch, by UTC."""
    return int(now // _SECONDS_PER_DAY)
