"""Documents that wait for a chunk, and the choice of those that fill one: by name, so that it survives edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .boundaries import fingerprint
from .chunks import Piece

_HALF, _THIRD, _QUARTER = 1 / 2, 1 / 3, 1 / 4
# With fewer documents than this in the upper half, some that end below it may be chosen too. Without such anchors,
# documents of equal length would stay paired the other way round behind an edit.
_ENOUGH_TO_CHOOSE = 3
_ANCHOR = 4
_IDENTIFYING = 64


@dataclass(frozen=True, slots=True)
class Cost:
    """What something takes of a chunk: characters, and the weight of its tokens (0 where tokens are not counted)."""

    characters: int = 0
    weight: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.characters + other.characters, self.weight + other.weight)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is left of a document that has ended, and what it costs a chunk."""

    piece: Piece
    text: Cost
    header: Cost
    rank: int


class Shelf:
    """Documents that have ended and fit one chunk together; a chunk's first document is not charged its header."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.cost = Cost()

    def add(self, piece: Piece, text: Cost, header: Cost, rank: int) -> None:
        self.cost += text + header if self.waiting else text
        self.waiting.append(Waiting(piece, text, header, rank))

    def take(self, count: int) -> list[Piece]:
        """Removes the first `count` documents."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        costs = self._costs()
        self.cost = costs[-1] if costs else Cost()
        return [one.piece for one in taken]

    def count_to_close(self, budget: Cost) -> int:
        """How many of the first documents fill a chunk of `budget` well, or 0 if none do."""
        shares = [
            max(cost.characters / budget.characters, cost.weight / budget.weight if budget.weight else 0)
            for cost in self._costs()
        ]
        return documents_to_close(shares, [one.rank for one in self.waiting])

    def _costs(self) -> list[Cost]:
        """The cost of the first document, of the first two, and so on."""
        costs: list[Cost] = []
        for one in self.waiting:
            costs.append(costs[-1] + one.header + one.text if costs else one.text)
        return costs


def rank_of(piece: Piece, *, continued: bool) -> int:
    """A number that stands for a document whatever comes before it: from its name, else its first characters.

    Of an unnamed document that an earlier chunk has cut, the end is what an edit before it leaves alone.
    """
    if piece.name:
        return fingerprint(piece.name)
    return fingerprint(piece.text[-_IDENTIFYING:] if continued else piece.text[:_IDENTIFYING])


def documents_to_close(shares: Sequence[float], ranks: Sequence[int]) -> int:
    """How many of the first documents fill a chunk well, or 0 if none do.

    `shares[i]` is the share of a chunk that documents 0…i take, ascending; `ranks[i]` is the rank of document i. The
    smallest rank in the upper half ends the chunk, which fills three quarters of it on average.
    """
    # An estimator that learned in between can find too much what was waiting already.
    shares = [share for share in shares if share <= 1]
    upper = [at for at, share in enumerate(shares) if share >= _HALF]
    if len(upper) < _ENOUGH_TO_CHOOSE:
        anchors = [at for at, share in enumerate(shares) if _QUARTER <= share < _HALF and ranks[at] % _ANCHOR == 0]
        upper = anchors + upper or [at for at, share in enumerate(shares) if share >= _THIRD]
    # Of equal ranks the last, which fills more.
    return min(upper, key=lambda at: (ranks[at], -at)) + 1 if upper else 0
