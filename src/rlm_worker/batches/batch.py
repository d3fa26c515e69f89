"""A batch of requests: it receives its items, sees them through, and goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlm_worker.errors import Conflict, NotFound
from rlm_worker.ports import Database
from rlm_worker.wire.base import timestamp
from rlm_worker.wire.batches import BatchAccepted, BatchState

from .items import MAX_ATTEMPTS, BatchEntry, BatchItems, TakenItem
from .tables import BatchTables


class Batch:
    """The books of one batch; every method is one transaction and may be repeated."""

    def __init__(self, database: Database) -> None:
        self._tables = BatchTables(database)
        self._items = BatchItems(self._tables)

    @property
    def status(self) -> str:
        """`absent`, `receiving`, `running` or `deleting`."""
        return self._tables.fact("status") or "absent"

    @property
    def id(self) -> str:
        return self._tables.fact("id")

    @property
    def owner(self) -> str:
        return self._tables.fact("owner")

    @property
    def digest(self) -> str:
        return self._tables.fact("digest")

    @property
    def updated(self) -> float:
        """When something moved last, in seconds since the epoch."""
        return float(self._tables.fact("updated") or 0)

    @property
    def unfinished(self) -> bool:
        """Whether some item has not ended."""
        return self._items.unfinished

    def check_owner(self, owner: str) -> None:
        """Raises `NotFound` for a batch of another key, one that is not complete yet and one that is going."""
        if self.status != "running" or self.owner != owner:
            raise NotFound("there is no such batch")

    # Coming in.

    def open(self, batch_id: str, owner: str, token: str, now: float) -> None:
        """Begins to receive items from who holds `token`; what an attempt that broke off has left is dropped."""
        self._tables.empty()
        known = {"id": batch_id, "owner": owner, "token": token, "status": "receiving", "created": str(now)}
        for name, value in known.items():
            self._tables.set_fact(name, value)
        self._touch(now)

    def check_token(self, token: str) -> None:
        """Raises `Conflict` where somebody else has begun to send the same batch meanwhile."""
        if self._tables.fact("token") != token:
            raise Conflict("this batch is being sent twice at once")

    def add(self, first: int, entries: Sequence[BatchEntry], now: float) -> None:
        """Takes items in; the first one has the number `first`."""
        self._items.add(first, entries, now)

    def seal(self, digest: str, now: float) -> BatchAccepted:
        """Ends receiving: the batch runs."""
        self._tables.set_fact("digest", digest)
        self._tables.set_fact("status", "running")
        self._touch(now)
        return self.accepted()

    def accepted(self) -> BatchAccepted:
        counts = self._items.counts()
        total, rejected = sum(counts.values()), counts.get("rejected", 0)
        return BatchAccepted(batch_id=self.id, total=total, accepted=total - rejected, rejected=rejected)

    # Going through.

    def waiting(self, most: int) -> list[int]:
        """Items that have not been sent to the queue, in their order."""
        return self._items.waiting(most)

    def sent(self, numbers: Sequence[int], now: float) -> None:
        """Notes that these are in the queue; one that a consumer has taken meanwhile stays taken."""
        self._move(numbers, "queued", now, only_from=("waiting",))

    def unsent(self, numbers: Sequence[int], now: float) -> None:
        """Notes that the queue did not take these."""
        self._move(numbers, "waiting", now, only_from=("queued",))

    def characters(self, number: int) -> int:
        """How long an item is, for a consumer that has to make room before it takes it."""
        return self._items.characters(number)

    def take(self, number: int, now: float) -> TakenItem | None:
        """The item, for a consumer to work on; None where there is nothing left to do."""
        if self.status != "running" or not (attempt := self._items.begin(number)):
            return None
        if attempt > MAX_ATTEMPTS:
            self.give_up(number, now)
            return None
        self._move([number], "running", now)
        return TakenItem(self.owner, self._items.body(number), attempt)

    def started(self, number: int, session: str) -> bool:
        """Notes the session that answers an item; False where it is not to be run after all."""
        if self.status != "running":
            return False
        self._items.set_session(number, session)
        return True

    def deferred(self, number: int, cost: float, result: str, *, counted: bool, now: float) -> bool:
        """Notes that an attempt failed and another one may not; keeps the failure in case that there is none.

        One that the key's own limits have refused is not `counted`. False where the batch is gone, so that nobody will
        ever ask for what the item has left.
        """
        if not counted:
            self._items.uncount(number)
        return self._keep(number, "queued", cost, result, now)

    def finished(self, number: int, cost: float, result: str, *, success: bool, now: float) -> bool:
        """Notes how an item has ended: the JSON of its result; False where the batch is gone."""
        return self._keep(number, "completed" if success else "failed", cost, result, now)

    def give_up(self, number: int, now: float) -> None:
        """Ends an item that the queue has given up; what its last attempt has brought is its result."""
        if self.status == "running" and self._items.is_open(number):
            answered = self._items.give_up(number)
            self._move([number], "completed" if answered else "failed", now)

    def revive(self, now: float, stall_seconds: float) -> None:
        """Lets items wait again of which nothing has been heard for too long; a second consumer joins the first's run.

        Those in the queue may just have many before them: they count as lost when nothing at all has moved.
        """
        late = now - stall_seconds
        self._items.revive("running", late)
        if self.updated <= late:
            self._items.revive("queued", now)

    # Looking at it.

    def state(self) -> BatchState:
        counts = self._items.counts()
        return BatchState(
            **self.accepted().model_dump(exclude={"success"}),
            status="running" if self.unfinished else "completed",
            queued=counts.get("queued", 0) + counts.get("waiting", 0),
            running=counts.get("running", 0),
            completed=counts.get("completed", 0),
            failed=counts.get("failed", 0) + counts.get("rejected", 0),
            cost_usd=round(self._items.cost_usd(), 10),
            created_at=timestamp(float(self._tables.fact("created") or 0)),
            updated_at=timestamp(self.updated),
        )

    def lines(self) -> Iterator[str]:
        """The results as lines of JSON, in the order of the input; of items that have not ended, where they stand."""
        return self._items.lines()

    # Going.

    def sessions(self, most: int) -> list[str]:
        """Some sessions that are to be removed, those that run first."""
        return self._items.sessions(most)

    def removed(self, sessions: Sequence[str]) -> None:
        """Notes that nothing is left of these."""
        self._items.removed(sessions)

    def leave(self) -> None:
        """Stops everything: no item is taken any more."""
        self._tables.set_fact("status", "deleting")

    def forget(self) -> None:
        """To be called when the storage underneath was emptied."""
        self._tables.forget()

    def _keep(self, number: int, status: str, cost: float, result: str, now: float) -> bool:
        if self.status != "running":
            return False
        if self._items.is_open(number):
            self._items.keep_result(number, cost, result)
            self._move([number], status, now)
        return True

    def _move(self, numbers: Sequence[int], status: str, now: float, **options: tuple[str, ...]) -> None:
        self._items.move(numbers, status, now, **options)
        self._touch(now)

    def _touch(self, now: float) -> None:
        self._tables.set_fact("updated", str(now))
