"""From notes to an answer: a tree bounded by the root model's window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rlm_worker.errors import InputTooLarge, UsageLimitExceeded
from rlm_worker.messages import Message, ModelRequest
from rlm_worker.runs.answer import answer, cut_at
from rlm_worker.runs.conversation import earlier_turns
from rlm_worker.runs.run import Run

from .notes import Note, Parts
from .prompts import note_head, reduce_messages, synthesize_messages

_WINDOW_SHARE = 0.9
# Merging must shrink: below this many notes to a group another round would not end.
_MIN_TO_MERGE = 2
# What a number before a quotation weighs, and the figures on the reading.
_TOKENS_PER_NUMBER = 12
_MANY = Parts(99_999, 99_999, 99_999)
_NO_NOTES = "No part of the text that was read holds anything that helps to answer the question."


async def synthesize(run: Run, notes: Sequence[Note], coverage: float, parts: Parts) -> tuple[str, bool]:
    """The answer from all notes, and whether a limit left it poorer than it could be."""
    asked = run.chains.acting(run.root)
    try:
        return await _synthesized(run, notes, coverage, parts)
    except InputTooLarge:
        if run.chains.acting(run.root) == asked:
            raise
        return await _synthesized(
            run, notes, coverage, parts
        )  # the model is gone: in the window of who stands in for it


async def _synthesized(run: Run, notes: Sequence[Note], coverage: float, parts: Parts) -> tuple[str, bool]:
    shortened = False
    try:
        notes = await _reduced(run, notes)
    except UsageLimitExceeded as limit:
        run.limit_reached(limit)
        notes, shortened = _trimmed(run, notes), True
    try:
        if not run.has_time_for("root"):
            raise run.out_of_time()
        async with asyncio.timeout(_seconds_left(run)):
            text, cut = await answer(run, "synthesize", _messages(run, notes, coverage, parts))
    except (UsageLimitExceeded, TimeoutError) as limit:
        run.limit_reached(limit if isinstance(limit, UsageLimitExceeded) else run.out_of_time())
        return _unsynthesized(run, notes), True
    return text, cut or shortened


async def _reduced(run: Run, notes: Sequence[Note]) -> Sequence[Note]:
    """Merges neighbouring notes, round by round, until all fit one prompt of the root model."""
    while len(groups := _groups(run, notes)) > 1:
        needed = sum(len(group) > 1 and not _is_paid(run, group) for group in groups)
        if len(groups) > len(notes) // _MIN_TO_MERGE or 0 < needed >= run.ledger.remaining_iterations():
            raise UsageLimitExceeded("maxIterations", run.ledger.limits.max_iterations, run.ledger.usage.iterations)
        if not run.has_time_for("root", calls=2):
            raise run.out_of_time()
        notes = await run.fan_out(groups, lambda group: _merged(run, group))
    return notes


async def _merged(run: Run, group: Sequence[Note]) -> Note:
    if len(group) == 1:
        return group[0]
    request = _merge(run, group)
    reply = await run.model.complete(request)
    if reply.is_cut:
        run.warn(
            f"the merged notes on characters {group[0].start} to {group[-1].end} were cut at "
            f"{cut_at(reply, request)} tokens"
        )
    return Note(group[0].start, group[-1].end, reply.text)


def _merge(run: Run, group: Sequence[Note]) -> ModelRequest:
    request = run.request("root", "reduce", reduce_messages(run.question, group, owner=run.job.owner))
    return replace(request, call=request.key())


def _is_paid(run: Run, group: Sequence[Note]) -> bool:
    """Whether an earlier life of the run has merged these notes."""
    return run.ports.journal.recall(_merge(run, group).call) is not None


def _groups(run: Run, notes: Sequence[Note]) -> list[list[Note]]:
    """Neighbours that fit one prompt together."""
    room = _room(run)
    groups: list[list[Note]] = [[]]
    used = 0
    for note in notes:
        size = _tokens(run, note)
        if groups[-1] and used + size > room:
            groups.append([])
            used = 0
        groups[-1].append(note)
        used += size
    return groups


def _room(run: Run) -> int:
    estimator = run.pricing.estimator(run.root)
    words = sum(estimator.estimate(message.content) for message in _messages(run, [], 0.5, _MANY))
    window = min(run.root.window, run.chains.acting(run.root).window)  # of who really answers, as far as is known
    return max(64, int((window - min(run.root_output, window // 2) - words) * _WINDOW_SHARE))


def _messages(run: Run, notes: Sequence[Note], coverage: float, parts: Parts) -> tuple[Message, ...]:
    earlier = earlier_turns(run.job.conversation, run.root.window)
    return synthesize_messages(
        run.job.query, notes, coverage, run.instructions, earlier=earlier, owner=run.job.owner, parts=parts
    )


def _tokens(run: Run, note: Note) -> int:
    return (
        run.pricing.estimator(run.root).estimate(note_head(note) + note.text)
        + 2
        + _TOKENS_PER_NUMBER * len(note.quotes)
    )


def _trimmed(run: Run, notes: Sequence[Note]) -> list[Note]:
    """Every note cut alike, so that all fit the root model's window."""
    total = sum(_tokens(run, note) for note in notes)
    share = min(1.0, _room(run) / max(1, total)) * _WINDOW_SHARE
    kept = [Note(note.start, note.end, note.text[: int(len(note.text) * share)]) for note in notes]
    heads = sum(_tokens(run, Note(note.start, note.end, "")) for note in kept)
    return kept if heads < _room(run) // 2 else kept[: max(1, _room(run) * len(kept) // (4 * heads))]


def _seconds_left(run: Run) -> float | None:
    left = run.ledger.remaining_seconds()
    return None if left is None else max(0.0, left)


def _unsynthesized(run: Run, notes: Sequence[Note]) -> str:
    """The notes themselves: the best that there is when the root model may not speak any more."""
    run.warn("the answer is the evidence as it was found: no root call was left to put it into words")
    if run.form is not None:
        run.is_unfit("it is the evidence as it was found")
    return "\n\n".join(note.text.strip() for note in notes) or _NO_NOTES
