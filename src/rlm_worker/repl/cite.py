"""The citations of an answer that was found by exploring: from what was read of the context on the way."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from rlm_worker.citations.cited import Cited, Citing
from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import InvocationSpent, RLMError
from rlm_worker.ports import Interval
from rlm_worker.runs.run import Run
from rlm_worker.text.chunks import Piece

from .passages import Passage

# What is read again for one answer at most, and at once; in characters.
_MAX_CHARACTERS, _AT_ONCE = 2_000_000, 500_000


async def cite_explored(run: Run, answer: str, context: Passage, read: Sequence[Interval]) -> Cited:
    """Cites the sentences that an answer rests on, out of the ranges of the context that were read."""
    documents = Documents.of(run.reader.manifest)
    citing = Citing(run.said(answer), run.job.query, documents)
    left = _MAX_CHARACTERS
    seen: list[Seen] = []
    try:
        for start, end in read:
            for at in range(start, min(end, start + left), _AT_ONCE):
                text = await context.read(at, min(end, start + left, at + _AT_ONCE))
                left -= len(text)
                seen.append(Seen.of(_pieces(documents, at, text)))
    except InvocationSpent:
        raise
    except RLMError as error:  # the answer is there: better with fewer citations than not at all
        run.warn(f"not everything could be cited: {error}")
    citing.read(seen)
    return citing.cited()


def _pieces(documents: Documents, start: int, text: str) -> list[Piece]:
    """A range of the context, cut where documents end."""
    pieces: list[Piece] = []
    while text:
        document = bisect_right(documents.starts, start) - 1
        part = text[: documents.starts[document + 1] - start]
        pieces.append(Piece(document, documents.names[document], start, part))
        start, text = start + len(part), text[len(part) :]
    return pieces
