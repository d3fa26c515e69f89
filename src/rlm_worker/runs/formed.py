"""An answer in the caller's own form: asked for, held to the schema, and mended by the model that has missed it.

Code mends nothing: a reply that does not fit goes back with what is wrong with it, twice at most. Where all facts are
in the reply, it goes back alone, which is cheap, and nothing counts that comes of it and was not said there. Where
something may be missing from it, or it was cut off, only who has the text can tell, and inventing is what a model would
do without: so the whole prompt goes with it, and the second time in any case.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from rlm_worker.citations.attribution import is_said_in
from rlm_worker.errors import ModelError, RateLimited, RLMError, UsageLimitExceeded
from rlm_worker.messages import Message, ModelReply, ModelRequest
from rlm_worker.structured.form import Draft, Form
from rlm_worker.structured.words import again_messages, rewrite_messages
from rlm_worker.text.tokens import TokenEstimator
from rlm_worker.wire.events import MendEvent

from .root_call import affordable, cut_at, root_call
from .run import Run

MAX_MENDS = 2
# Of the window that a prompt leaves room in, and of the time that is left: the rest is for saying what there is.
_WINDOW_SHARE, _TIME_SHARE = 0.9, 0.95


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply as a draft; `cut`: it was cut off before it was whole, so many tokens long.

    `stopped`: a limit of the run has kept it from being mended.
    """

    draft: Draft
    cut: int = 0
    stopped: bool = False

    @classmethod
    def of(cls, reply: ModelReply, request: ModelRequest, form: Form) -> _Reply:
        draft = form.read(reply.text)
        return cls(draft, cut_at(reply, request) if reply.is_cut and draft.problem else 0)

    @property
    def needs_text(self) -> bool:
        """Whether something may be missing that only the text can tell."""
        return self.cut > 0 or self.draft.missing

    @property
    def problem(self) -> str:
        return f"it was cut off at {self.cut:,} tokens; {self.draft.problem}" if self.cut else self.draft.problem


async def formed_answer(run: Run, form: Form, request: ModelRequest) -> tuple[str, bool]:
    """The answer as JSON, as the model wrote it, and whether a limit has cut it, or its mending, short.

    One that has not the form in the end is given as it is, and the run told that it does not fit: `Run.unfit`.
    """
    reply = _Reply.of(await run.model.complete(request), request, form)
    if reply.problem:
        reply = await _mended(run, form, request.messages, reply)
    if reply.problem:
        run.is_unfit(reply.problem)
    return reply.draft.text, reply.cut > 0 or reply.stopped


async def _mended(run: Run, form: Form, asked: tuple[Message, ...], reply: _Reply) -> _Reply:
    """The reply after at most two mends, or as far as limits and models allowed."""
    try:
        for number in range(1, MAX_MENDS + 1):
            run.emit(MendEvent(attempt=number, problem=reply.problem))
            messages = _again(run, asked, reply) if number > 1 or reply.needs_text else None
            async with _in_time(run):
                mended = await _asked(run, form, messages or _alone(form, reply), number)
            if messages or mended.problem or _is_same(form, mended, reply):
                reply = mended
            if not reply.problem:
                break
    except UsageLimitExceeded as limit:
        run.limit_reached(limit)
        return replace(reply, stopped=True)
    except (ModelError, RateLimited) as error:
        _lost(run, error)
    return reply


async def _asked(run: Run, form: Form, messages: tuple[Message, ...], number: int) -> _Reply:
    request = affordable(run, root_call(run, "mend", messages, salt=f"mend {number}"))
    return _Reply.of(await run.model.complete(request), request, form)


def _again(run: Run, asked: tuple[Message, ...], reply: _Reply) -> tuple[Message, ...] | None:
    """The whole prompt again; None where it does not fit the window with the reply behind it."""
    messages = again_messages(asked, reply.draft.text, reply.problem, cut=reply.cut > 0)
    return messages if _fits(run, messages) else None


def _alone(form: Form, reply: _Reply) -> tuple[Message, ...]:
    return rewrite_messages(form.schema, reply.draft.text, reply.problem)


def _is_same(form: Form, mended: _Reply, reply: _Reply) -> bool:
    """Whether a reply that was only to be put into its form says nothing that it did not say before."""
    return is_said_in(mended.draft.text, reply.draft.text, json.dumps(form.schema, ensure_ascii=False))


def _fits(run: Run, messages: tuple[Message, ...]) -> bool:
    """By estimates that learn nothing, so that a resumed run asks what it has asked before."""
    estimator = TokenEstimator()
    room = (run.root.window - run.root_output) * _WINDOW_SHARE
    return sum(estimator.estimate(message.content) for message in messages) <= room


@asynccontextmanager
async def _in_time(run: Run) -> AsyncIterator[None]:
    """Raises `UsageLimitExceeded` a little before the run's time is up: there is an answer to be given."""
    if not run.has_time_for("root"):
        raise run.out_of_time()
    left = run.ledger.remaining_seconds()
    try:
        async with asyncio.timeout(None if left is None else max(0.0, left * _TIME_SHARE)):
            yield
    except TimeoutError:
        raise run.out_of_time() from None


def _lost(run: Run, error: RLMError) -> None:
    if isinstance(error, ModelError):
        run.lost(error)
    run.warn(f"the answer could not be put into its form: {error}")
