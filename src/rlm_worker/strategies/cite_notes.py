"""The citations of an answer from notes: what readers quoted, found again in the chunks that they read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rlm_worker.citations.cited import Cited, Citing, chosen_from_notes
from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import InvocationSpent, RLMError
from rlm_worker.messages import Span
from rlm_worker.runs.run import Run
from rlm_worker.text.context import read_chunk

from .prompts import is_no_evidence

# Chunks that are read once more for one answer.
_MAX_CHUNKS = 100


async def cite_notes(run: Run, answer: str, noted: Sequence[tuple[Span, str]]) -> Cited:
    """Cites what of the notes the answer rests on; nothing is asked of a model, and only the chunks of those are read.

    A note is held against its chunk as the reader saw it, so it makes no difference whether the note is new, cached,
    journalled by an earlier life of the run, or merged on its way to the answer.
    """
    said = run.said(answer)
    citing = Citing(said, run.job.query, Documents.of(run.reader.manifest))
    chosen = chosen_from_notes(said, run.job.query, ["" if is_no_evidence(note) else note for _, note in noted])
    by_note = [(number, list(group)) for number, group in groupby(chosen, lambda one: one.note)]
    try:
        for number, sentences in by_note[:_MAX_CHUNKS]:
            chunk = await read_chunk(run.reader, noted[number][0])
            citing.noted(sentences, Seen.of(chunk.pieces, chunk.overlap))
    except InvocationSpent:
        raise
    except RLMError as error:  # the answer is there: better with fewer citations than not at all
        run.warn(f"not everything could be cited: {error}")
    return citing.cited()
