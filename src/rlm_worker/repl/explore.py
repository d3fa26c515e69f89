"""The root model explores the context by writing Python: a recursive language model.

Source of the method: "Recursive Language Models", arXiv 2512.24601. Each turn the model writes a cell, the sandbox runs
it, and the model sees what it printed; a cell asks sub-models, or child runs that work in the same way, and one of them
calls `FINAL`. All calls are journalled and held to the run's one ledger; where a limit ends the work, the best answer
is drawn from the state with one last call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from rlm_worker.errors import InputTooLarge, InvocationSpent, RLMError, UsageLimitExceeded
from rlm_worker.journal.cells import CellOutcome
from rlm_worker.messages import Message, ModelReply, ModelRequest
from rlm_worker.ports import Interval
from rlm_worker.runs.answer import answer, is_affordable
from rlm_worker.runs.conversation import earlier_turns
from rlm_worker.runs.formed import MAX_MENDS
from rlm_worker.runs.run import Outcome, Run
from rlm_worker.sandbox.text import EAGER
from rlm_worker.structured.form import Draft
from rlm_worker.text.tokens import TokenEstimator
from rlm_worker.wire.events import AnswerEvent, IterationEvent, MendEvent

from .cells import DurableRepl, open_repl
from .cite import cite_explored
from .code_blocks import code_of
from .inherited import Inherited, take_over
from .passages import ContextText, Coverage
from .prompts import (
    LAST_TURN,
    NO_CODE,
    PREVIEW_CHARACTERS,
    ReplFacts,
    extract_message,
    feedback,
    progress,
    question_message,
    system_message,
)
from .task import Found, Task
from .transcript import Transcript, Turn

# Shares of what is left: of the window for the prompt, of the time for turns, of the dollars for the last word.
_WINDOW_SHARE, _TIME_SHARE, _LAST_WORD_SHARE = 0.8, 0.85, 0.3
_TIGHT = 0.6
_SLICE_CHARACTERS_PER_TOKEN = 3
_ENDS = ("FINAL", "FINAL_VAR", "SUBMIT", "print", "llm_query", "llm_query_batched", "rlm_query")


async def run_repl(run: Run) -> Outcome:
    """Answers by exploring; raises `UsageLimitExceeded` when a limit left neither an answer nor a draft of one."""
    run.announce_plan("repl", chunks=0, chunk_size=0)
    task = Task(run, run.job.query, ContextText(run.reader), run.model, explore)
    task = replace(task, form=run.form)
    run.ledger.set_aside(_last_word_usd(run))
    found = await explore(task)
    text = found.as_text()
    if run.job.stream and not run.unfit:
        run.emit(AnswerEvent(delta=text, restart=True))
    read = Coverage()
    for start, end in found.read:
        read.add(start, end)
    cited = await cite_explored(run, text, task.passage, read.intervals(), found.cited, earlier=found.earlier)
    return Outcome(text, chunks=0, read=read.characters, truncated=found.truncated, cited=cited)


async def explore(task: Task) -> Found:
    """Turn after turn until the model is done or a limit is reached."""
    exploration = await _begin(task)
    try:
        async with asyncio.timeout(_seconds_for_turns(task)):
            return await _turns(exploration)
    except UsageLimitExceeded as limit:
        stopped = limit
    except TimeoutError:
        stopped = task.run.out_of_time()
    finally:
        await exploration.repl.close()
    exploration.stop(stopped)
    return await _last_word(exploration, stopped)


@dataclass(slots=True)
class Exploration:
    """The state of one task: what was said, what was read, and the REPL with the cells that it has inherited."""

    task: Task
    repl: DurableRepl
    facts: ReplFacts
    transcript: Transcript
    read: Coverage
    cited: list[Interval]
    inherited: Inherited
    draft: str = ""
    truncated: bool = False
    # How many turns there are in all, as far as it is known: child runs have their share of them.
    turns: int = 0
    rejected: int = 0

    def take(self, number: int, outcome: CellOutcome) -> None:
        """Adds what a turn's cell has read, cited, drafted and run into."""
        self.cited += outcome.cited
        self.turns = self.turns if outcome.turns_left is None else number + outcome.turns_left
        for start, end in outcome.read:
            self.read.add(start, end)
        self.draft = outcome.draft or self.draft
        for name, allowed, used in outcome.limits:
            self.stop(UsageLimitExceeded(name, allowed, used))

    def stop(self, limit: UsageLimitExceeded) -> None:
        """Notes a limit that made the answer poorer than it could be."""
        self.truncated = True
        self.task.run.limit_reached(limit)

    def found(self, value: object) -> Found:
        earlier = sum(map(len, self.inherited.cited.values()))
        return Found(value, tuple(self.read.intervals()), self.truncated, tuple(self.cited), earlier)

    def ended(self, final: object) -> tuple[Found | None, str]:
        """What a final value ends in; nothing where it has to be mended first, and what is wrong with it."""
        form = self.task.form
        if form is None:
            return self.found(final), ""
        told = form.read_value(final)
        if told.problem and self.rejected < MAX_MENDS:
            self.rejected += 1
            self.task.run.emit(MendEvent(attempt=self.rejected, problem=told.problem))
            return None, told.problem
        return self.formed(told), ""

    def formed(self, told: Draft) -> Found:
        """An answer that is as it is to be, or can be mended no more."""
        if told.problem:
            self.task.run.is_unfit(told.problem)
        return self.found(told.text)


async def _begin(task: Task) -> Exploration:
    deployment, config = task.run.ports.deployment, task.run.job.config
    facts = _facts(task)
    inherited = Inherited() if task.depth else await take_over(task.run)
    question = await question_message(task.query, facts, task.passage)
    opening = (system_message(facts, task.passage), question, *_earlier(task, inherited))
    read = Coverage()
    for start, end in inherited.read:
        read.add(start, end)
    preview = task.passage.place(0, min(PREVIEW_CHARACTERS, task.passage.characters))
    if preview is not None:
        read.add(*preview)
    seconds = min(config.cell_timeout_seconds, deployment.max_cell_seconds)
    repl = open_repl(task, seconds, inherited)
    await repl.hold()
    turns = max(1, config.max_iterations - 1 - task.depth)
    cited = [place for places in inherited.cited.values() for place in places]
    return Exploration(task, repl, facts, Transcript(opening), read, cited, inherited, turns=turns)


def _earlier(task: Task, inherited: Inherited) -> tuple[Message, ...]:
    """What a follow-up says of the turns before it, and the question again behind them."""
    conversation = None if task.depth else task.run.job.conversation
    earlier = earlier_turns(conversation, task.run.root.window, inherited.variables)
    return (Message("user", f"{earlier}\n\nQuestion, again: {task.query}"),) if earlier else ()


async def _turns(exploration: Exploration) -> Found:
    """The loop: reply, cell, feedback."""
    for number in count(1):
        reply = await _reply(exploration, number)
        code = code_of(reply.text, _ENDS)
        cell = exploration.inherited.cells + number
        outcome = CellOutcome(NO_CODE) if code is None else await exploration.repl.run(cell, code)
        exploration.take(number, outcome)
        _announce(exploration.task, number, code, outcome, reply)
        problem = ""
        if outcome.finished:
            found, problem = exploration.ended(outcome.final)
            if found is not None:
                return found
        said = NO_CODE if code is None else feedback(outcome, problem)
        said = f"{said}\n\n{progress(number, exploration.turns, outcome.left)}"
        exploration.transcript.add(Turn(reply.text, said, outcome.variables or exploration.transcript.variables))
    raise AssertionError("counting has no end")


async def _reply(exploration: Exploration, number: int) -> ModelReply:
    """The model's next turn; what an earlier life of the run has paid costs nothing and passes no limit."""
    try:
        return await _asked(exploration, number, _WINDOW_SHARE)
    except InputTooLarge:
        return await _asked(exploration, number, _WINDOW_SHARE * _TIGHT)


async def _asked(exploration: Exploration, number: int, share: float) -> ModelReply:
    task, run, cell = exploration.task, exploration.task.run, exploration.inherited.cells + number
    hint = (Message("user", LAST_TURN),) if number == run.job.config.max_iterations - 1 > 1 else ()
    messages = exploration.transcript.messages(_fitting(run, share), *hint)
    salt = task.path if run.job.config.temperature else ""
    request = replace(run.request("root", "turn", messages), parent=task.cell_name(cell), salt=salt)
    if run.ports.journal.recall(request.key()) is None:
        _keep_last_word(task, request)
    return await task.model.complete(request)


def _keep_last_word(task: Task, request: ModelRequest) -> None:
    """Raises `UsageLimitExceeded` where another turn would leave nothing for the answers of this task and above."""
    ledger, limits = task.run.ledger, task.run.ledger.limits
    kept = min(task.depth + 1, limits.max_iterations - 1)
    if ledger.remaining_iterations() <= kept:
        raise UsageLimitExceeded("maxIterations", limits.max_iterations, ledger.usage.iterations)
    if not task.run.has_time_for("root", calls=2):
        raise task.run.out_of_time()
    remaining = ledger.remaining_usd()
    if remaining is not None and remaining - task.run.pricing.worst_usd(request) < _last_word_usd(task.run):
        raise UsageLimitExceeded("maxCostUsd", limits.max_cost_usd or 0, round(ledger.usage.cost_usd, 8))


async def _last_word(exploration: Exploration, stopped: UsageLimitExceeded) -> Found:
    """The best answer from the state, with one more call if there is anything left for it; else the draft."""
    task, transcript = exploration.task, exploration.transcript
    last = extract_message(transcript.variables, exploration.draft, exploration.facts)
    fits = _fitting(task.run, _WINDOW_SHARE)
    messages = transcript.messages(lambda said: fits(said) and is_affordable(task.run, "extract", said), last)
    try:
        async with asyncio.timeout(_seconds_for_last_word(task)):
            text = await _extracted(task, messages)
    except InvocationSpent:
        raise
    except (RLMError, TimeoutError):
        if not exploration.draft:
            raise stopped from None
        text = exploration.draft
        if task.form is not None:
            return exploration.formed(task.form.read(text))
    return exploration.found(text)


async def _extracted(task: Task, messages: tuple[Message, ...]) -> str:
    if task.depth == 0:
        text, _ = await answer(task.run, "extract", messages)
        return text
    request = replace(task.run.request("root", "extract", messages), parent=task.path)
    return (await task.model.complete(request)).text.strip()


def _announce(task: Task, number: int, code: str | None, outcome: CellOutcome, reply: ModelReply) -> None:
    task.run.emit(
        IterationEvent(
            iteration=number,
            code=code or "",
            output=f"(ended: {outcome.lost})" if outcome.lost else outcome.output,
            cost_usd=round(task.cost_of(reply) + outcome.cost_usd, 10),
            duration_ms=outcome.duration_ms,
            parent=task.path or None,
        )
    )


def _facts(task: Task) -> ReplFacts:
    run = task.run
    recursing, citing = ["rlm_query"] if task.may_recurse else [], ["cite"] if task.may_cite else []
    tools = ["llm_query", "llm_query_batched", *recursing, *citing, "budget"]
    return ReplFacts(
        tools=tools,
        output_limit=run.job.config.max_output_characters,
        slice_limit=(run.sub.window - run.sub_output) * _SLICE_CHARACTERS_PER_TOKEN // 1_000 * 1_000,
        lazy=task.passage.characters > EAGER,
        response_schema=task.form.schema if task.form else None,
        instructions=None if task.depth else run.job.instructions,
    )


def _fitting(run: Run, share: float) -> Callable[[tuple[Message, ...]], bool]:
    """Whether a prompt leaves room for the reply; by estimates that learn nothing, so that a resumed run asks alike."""
    estimator = TokenEstimator()
    room = int((run.root.window - run.root_output) * share)
    return lambda messages: sum(estimator.estimate(message.content) for message in messages) <= room


def _last_word_usd(run: Run) -> float:
    """Dollars to keep for the last word."""
    limit = run.ledger.limits.max_cost_usd
    if limit is None:
        return 0.0
    return min(run.root.cost(run.root.window // 3, run.root_output), limit * _LAST_WORD_SHARE)


def _seconds_for_turns(task: Task) -> float | None:
    left = task.run.ledger.remaining_seconds()
    return None if left is None else max(0.0, left * _TIME_SHARE)


def _seconds_for_last_word(task: Task) -> float:
    left = task.run.ledger.remaining_seconds()
    calls = 1 if task.form is None else 1 + MAX_MENDS
    return calls * task.run.ports.deployment.call_timeout_seconds if left is None else max(0.0, left)
