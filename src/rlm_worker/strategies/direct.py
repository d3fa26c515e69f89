"""The whole context in one call to the root model."""

from __future__ import annotations

from collections.abc import Sequence

from rlm_worker.citations.cited import cite_read
from rlm_worker.errors import ContextTooLarge
from rlm_worker.messages import Message
from rlm_worker.runs.answer import answer, is_affordable
from rlm_worker.runs.conversation import earlier_turns
from rlm_worker.runs.run import Outcome, Run
from rlm_worker.text.chunks import Piece
from rlm_worker.text.context import read_all

from .prompts import direct_messages

# No script packs more characters than this into a token on average; beyond it a look at the length alone is enough.
_MAX_CHARACTERS_PER_TOKEN = 12


async def fits(run: Run) -> bool:
    """Whether prompt and answer fit the root model's window together."""
    room = run.root.window - run.root_output
    if run.reader.manifest.characters > room * _MAX_CHARACTERS_PER_TOKEN:
        return False
    pieces = await read_all(run.reader)
    estimator = run.pricing.estimator(run.root)
    return sum(estimator.estimate(message.content) for message in _messages(run, pieces)) <= room


async def is_payable(run: Run) -> bool:
    """Whether the run's dollars cover one call about the whole context, which is known to fit."""
    if run.ledger.limits.max_cost_usd is None:
        return True
    return is_affordable(run, "direct", _messages(run, await read_all(run.reader)))


async def run_direct(run: Run) -> Outcome:
    """Answers in one call; raises `ContextTooLarge` when the context does not fit the root model's window."""
    if not await fits(run):
        raise ContextTooLarge(
            f"{run.reader.manifest.characters:,} characters do not fit the window of {run.root.id} "
            f"({run.root.window:,} tokens, the answer included); use strategy auto or map_reduce"
        )
    run.announce_plan("direct", chunks=1, chunk_size=run.reader.manifest.characters)
    pieces = await read_all(run.reader)
    text, cut = await answer(run, "direct", _messages(run, pieces))
    cited = cite_read(run.said(text), run.job.query, [pieces], run.reader.manifest)
    return Outcome(text, chunks=1, read=run.reader.manifest.characters, truncated=cut, cited=cited)


def _messages(run: Run, pieces: Sequence[Piece]) -> tuple[Message, ...]:
    earlier = earlier_turns(run.job.conversation, run.root.window)
    return direct_messages(run.job.query, pieces, run.instructions, earlier=earlier, owner=run.job.owner)
