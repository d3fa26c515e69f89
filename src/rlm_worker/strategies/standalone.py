"""A follow-up question as those read it who see nothing of the turns before: in one call made to be understood alone.

Readers of chunks could be given the earlier turns instead. A call of the root model's costs less than these in every
chunk's prompt from about a dozen chunks on, ranks the chunks by what is meant and not by "the second one", and leads to
the cached notes where the same was asked before. What was asked stays in front of what it was made: a model that writes
it badly, or was led astray by an earlier answer, adds words and takes none away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from rlm_worker.errors import InvocationSpent, ModelError, UsageLimitExceeded
from rlm_worker.messages import ModelRequest
from rlm_worker.ports import CallRecord, PartsQuestion
from rlm_worker.runs.conversation import earlier_turns, rewrite_messages
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import Run

# A question that grows by more than this is none that somebody has written again.
_MAX_GROWTH = 2_000
_LABEL = re.compile(r"^\W*(the )?(rewritten |standalone )?question\W*:[\s*]*", re.IGNORECASE)
_QUOTES = (('"', '"'), ("“", "”"), ("«", "»"), ("「", "」"))


async def standalone_question(run: Run) -> str:
    """The question to ask of parts of the text: of a follow-up, one that needs no earlier turn to be understood.

    Where no call is left for that beside the answer, or the model fails, it is the question as it was asked. Either is
    written down and stands for the whole run: what was read for it is not read again for another.
    """
    if run.job.conversation is None:
        return run.job.query
    earlier = earlier_turns(run.job.conversation, run.root.window)
    request = run.request("root", "rewrite", rewrite_messages(run.job.query, earlier))
    request = replace(request, call=request.key())
    kept = run.ports.journal.question()
    if kept is None or (kept.warning and not _is_in_use(run, request)):
        kept = await _asked(run, request)
        run.ports.journal.keep_question(kept)
    if kept.warning:
        run.warn(kept.warning)
    return kept.text


def _is_in_use(run: Run, request: ModelRequest) -> bool:
    """Whether anything has come of the question that is kept: an answer to any other call, or a judge's ranking."""
    journal = run.ports.journal
    return bool(journal.ranking()) or any(key != request.call for key in journal.answered())


async def _asked(run: Run, request: ModelRequest) -> PartsQuestion:
    query = run.job.query
    if not _has_room(run, request):
        why = "the question was read as it stands: no root call was left to put what it refers to into it"
        return PartsQuestion(query, why)
    try:
        reply = await run.model.complete(request)
    except InvocationSpent:
        raise
    except (ModelError, UsageLimitExceeded) as error:
        return PartsQuestion(query, f"the question was read as it stands, without what it refers to: {error}")
    return PartsQuestion(query if reply.is_cut else rewritten(query, reply.text))


def asked_of_parts(job: Job, kept: PartsQuestion | None, calls: Iterable[CallRecord]) -> str:
    """The question that parts of a job's text were read for: as it was kept; an earlier version kept its call alone."""
    if kept is not None or job.conversation is None:
        return kept.text if kept is not None else job.query
    found = (call for call in calls if call.kind == "rewrite")
    return next((rewritten(job.query, call.text) for call in found if call.finish_reason != "length"), job.query)


def rewritten(query: str, reply: str) -> str:
    """The question with the one in a reply behind it; `query` itself where the reply says the same, or nothing."""
    text = _LABEL.sub("", reply.strip()).strip()
    for opening, closing in _QUOTES:
        if text.startswith(opening) and text.endswith(closing) and not query.startswith(opening):
            text = text[1:-1].strip()
    if not text or len(text) > len(query) + _MAX_GROWTH or text.casefold() == query.strip().casefold():
        return query
    return f"{query} (in full: {text})"


def _has_room(run: Run, request: ModelRequest) -> bool:
    """Whether turns and time are left for this call and the answer; what was paid before needs none."""
    if run.ports.journal.recall(request.call) is not None:
        return True
    return run.ledger.remaining_iterations() > 1 and run.has_time_for("root", calls=2)
