"""Answers what one cell asks of its session: text, models, child runs, the budget.

The sandbox is not trusted. Limits, the ledger and the bounds of the context are kept here; all that a cell can do by
calling its stub in ways of its own is what `llm_query` and the others do for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from rlm_worker.errors import InvalidRequest, InvocationSpent, ModelError, RLMError, UsageLimitExceeded
from rlm_worker.journal.cells import CellTable
from rlm_worker.messages import ModelReply, ModelRequest, ModelSpec
from rlm_worker.ports import Interval

from .cite import unmarked
from .passages import Coverage, Excerpt, GivenText, Passage
from .prompts import sub_messages
from .protocol import (
    MAX_READ_CHARACTERS,
    MAX_REQUEST_CHARACTERS,
    MAX_UNDER_WAY_CHARACTERS,
    TOO_LONG,
    BudgetRequest,
    LlmQueryRequest,
    QueryItem,
    ReadRequest,
    RlmQueryRequest,
    parse_host_request,
    whole_text,
)
from .task import Found, Task

# How often what a cell asks shows that it is alive, in seconds.
_SIGN_OF_LIFE_SECONDS = 2.0
_WINDOW_SHARE = 0.95
_MAX_JOINED_CHARACTERS = 4_000_000
# What one cell may ask: each call counts, and in a call with many prompts each of them.
MAX_QUESTIONS = 10_000
_MAX_UNPAID_ROWS = 50
TURNED_AWAY_SECONDS = 0.05
# Calls between isolates of one process are no traffic to its event loop, which looks for some only when it rests: below
# 4 ms Pyodide makes no timer of a pause.
_CALLS_WITHOUT_BREATH, _BREATH_SECONDS = 25, 0.005

Limit = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to one question, and what came with it; `key` names the journalled call that says `text`.

    `cited` are the places that a child run has cited, as ranges of the asker's own context.
    """

    text: str | None = None
    error: str = ""
    key: str = ""
    read: tuple[Interval, ...] = ()
    limits: tuple[Limit, ...] = ()
    cost_usd: float = 0.0
    cited: tuple[Interval, ...] = ()

    def to_wire(self) -> dict[str, str]:
        return {"text": self.text} if self.text is not None else {"error": self.error or "no answer"}

    def to_row(self) -> list[object]:
        return [
            None if self.key else self.text,
            self.error,
            self.key,
            self.read,
            self.limits,
            self.cost_usd,
            self.cited,
        ]

    @classmethod
    def from_row(cls, row: list[object]) -> Answer:
        text, error, key, read, limits, cost, *later = row
        cited = later[0] if later else []
        assert isinstance(cited, list)
        assert isinstance(read, list)
        assert isinstance(limits, list)
        return cls(
            None if text is None else str(text),
            str(error),
            str(key),
            tuple((int(start), int(end)) for start, end in read),
            tuple((str(name), float(allowed), float(used)) for name, allowed, used in limits),
            float(str(cost)),
            tuple((int(start), int(end)) for start, end in cited),
        )


@dataclass(slots=True)
class Work:
    """One request at work: when it began, in seconds, and whether a model or a child run had a part in it."""

    began: float
    is_paid: bool = False


@dataclass(slots=True)
class CellCalls:
    """The calls of one run of one cell; adds up what they read, cost and ran into.

    Time that models and child runs take is the cell's to wait, whatever else it asks takes the cell's own time.
    """

    task: Task
    cells: CellTable
    number: int
    read: Coverage = field(default_factory=Coverage)
    limits: list[Limit] = field(default_factory=list)
    cost_usd: float = 0.0
    waited_seconds: float = 0.0
    spent: InvocationSpent | None = None
    _under_way: set[asyncio.Task[dict[str, object]]] = field(default_factory=set)
    _under_way_characters: int = 0
    _waiting: int = 0
    _waited_until: float = 0.0
    _marked: bool = False
    _met: Counter[str] = field(default_factory=Counter)
    _calls: int = 0
    _questions: int = 0
    _unpaid_rows: int = 0
    _children: int = 0
    _life_at: float = 0.0
    _closed: bool = False

    async def answer(self, request: str) -> str:
        """Answers one request, JSON to JSON; an error is an answer too.

        `waited` are the seconds that models and child runs took, `over` says that the cell has asked too much.
        """
        self._calls += 1
        self._questions += 1
        if self._calls % _CALLS_WITHOUT_BREATH == 0:
            await self.task.run.ports.clock.sleep(_BREATH_SECONDS)
        # Looked at last: what began after the cell has ended nobody would end, nor book.
        if self._closed or self._questions > MAX_QUESTIONS:
            return await self._turned_away()
        if len(request) > MAX_REQUEST_CHARACTERS:
            return json.dumps(_error(TOO_LONG))
        if self._under_way and self._under_way_characters + len(request) > MAX_UNDER_WAY_CHARACTERS:
            return json.dumps(_error("too much is asked at once"))
        before, length = self.waited_seconds, len(request)
        work = asyncio.ensure_future(self._answered(request))
        self._under_way.add(work)
        self._under_way_characters += length
        try:
            answer = await work
        except asyncio.CancelledError:
            answer = _error("the cell has ended")
        except InvocationSpent as spent:  # the cell ends, and is run again in the next one
            self.spent = spent
            return json.dumps({**_error(str(spent)), "over": True})
        except RLMError as error:
            answer = _error(str(error))
        finally:
            self._under_way.discard(work)
            self._under_way_characters -= length
        if self._questions > MAX_QUESTIONS:
            return await self._turned_away()
        return json.dumps({**answer, "waited": self.waited_seconds - before})

    async def close(self) -> None:
        """Ends what the cell has left under way; it is answered no more."""
        self._closed = True
        under_way = tuple(self._under_way)
        for work in under_way:
            work.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    @property
    def is_waiting(self) -> bool:
        return self._waiting > 0

    async def _turned_away(self) -> str:
        """A REPL ends the cell at this; to code that goes on asking in its own ways the pause leaves little."""
        await self.task.run.ports.clock.sleep(TURNED_AWAY_SECONDS)
        if self._closed:
            return json.dumps(_error("no cell is running"))
        return json.dumps({**_error(f"a cell may ask {MAX_QUESTIONS:,} questions"), "over": True})

    async def _answered(self, request: str) -> dict[str, object]:
        asked = parse_host_request(request)
        if asked.cell != self.number:
            raise InvalidRequest.at("cell", "is not the one that runs")
        self._questions += len(asked.items) - 1 if isinstance(asked, LlmQueryRequest) else 0
        if self._questions > MAX_QUESTIONS:
            return {}
        self._show_life()
        if isinstance(asked, ReadRequest):
            return {"value": await self._text(asked)}
        answers = await self._answers(asked)
        if isinstance(asked, LlmQueryRequest):
            return {"value": [answer.to_wire() for answer in answers]}
        (answer,) = answers
        if answer.text is None:
            return _error(answer.error)
        if isinstance(asked, BudgetRequest):
            return {"value": json.loads(answer.text)}
        return {"value": {"text": answer.text, "cited": answer.cited} if answer.cited else answer.text}

    def _show_life(self) -> None:
        now = self.task.run.ports.clock.now()
        if now - self._life_at > _SIGN_OF_LIFE_SECONDS:
            self._life_at = now
            self._mark(waiting=self.is_waiting)

    async def _text(self, asked: ReadRequest) -> str:
        if not asked.start <= asked.end <= self.task.passage.characters:
            raise InvalidRequest.at("range", "lies outside of the context")
        if asked.end - asked.start > MAX_READ_CHARACTERS:
            raise InvalidRequest.at("range", f"has more than {MAX_READ_CHARACTERS:,} characters")
        return await self.task.passage.read(asked.start, asked.end)

    async def _answers(self, asked: LlmQueryRequest | RlmQueryRequest | BudgetRequest) -> list[Answer]:
        """New answers, or those that this cell was given when it ran before."""
        digest = self._numbered(asked.model_dump_json())
        known = self.cells.answer(self.task.path, self.number, digest)
        if known is not None:
            answers = [self._recalled(Answer.from_row(row)) for row in json.loads(known)]
        else:
            work = Work(self.task.run.ports.clock.now())
            answers = await self._new_answers(asked, work)
            self._keep(digest, answers, paid=work.is_paid)
        for answer in answers:
            self._count(answer)
        return answers

    def _keep(self, digest: str, answers: Sequence[Answer], *, paid: bool) -> None:
        """Writes answers down for a cell that runs again; of refusals and the like only the first ones of a cell."""
        self._unpaid_rows += not paid
        if paid or self._unpaid_rows <= _MAX_UNPAID_ROWS:
            rows = json.dumps([answer.to_row() for answer in answers], ensure_ascii=False)
            self.cells.keep_answer(self.task.path, self.number, digest, rows)

    def _count_waiting(self, work: Work) -> None:
        """A model or child run has answered: adds what the cell has waited for it, no moment twice."""
        now = self.task.run.ports.clock.now()
        self.waited_seconds += max(0.0, now - max(work.began, self._waited_until))
        self._waited_until, work.is_paid = now, True

    def _numbered(self, question: str) -> str:
        """A digest that tells a question from the same one asked again."""
        digest = hashlib.sha256(question.encode()).hexdigest()
        self._met[digest] += 1
        return f"{digest} {self._met[digest]}"

    def _recalled(self, answer: Answer) -> Answer:
        call = self.task.run.ports.journal.recall(answer.key) if answer.key else None
        return replace(answer, text=call.text) if call else answer

    def _count(self, answer: Answer) -> None:
        for start, end in answer.read:
            self.read.add(start, end)
        self.limits += [limit for limit in answer.limits if limit not in self.limits]
        self.cost_usd += answer.cost_usd

    async def _new_answers(self, asked: LlmQueryRequest | RlmQueryRequest | BudgetRequest, work: Work) -> list[Answer]:
        if isinstance(asked, BudgetRequest):
            return [Answer(json.dumps(self._budget()))]
        if isinstance(asked, RlmQueryRequest):
            self._children += 1
            recurses = self.task.may_recurse
            return [await (self._child(asked, work) if recurses else self._reply(asked, self._salt(asked), work))]
        salted = [(item, self._salt(item)) for item in asked.items]
        return await self.task.run.fan_out(salted, lambda pair: self._reply(*pair, work))

    def _salt(self, item: QueryItem) -> str:
        """Above temperature 0 the same question asked again is meant to be asked again; at 0 it is asked once."""
        if self.task.run.job.config.temperature == 0:
            return ""
        return f"{self.task.cell_name(self.number)} {self._numbered(item.model_dump_json())}"

    async def _reply(self, item: QueryItem, salt: str, work: Work) -> Answer:
        try:
            request = await self._request(item, salt)
            reply = await self._completed(request, work)
        except UsageLimitExceeded as limit:
            return Answer(error=str(limit), limits=((limit.limit, limit.allowed, limit.used),))
        except ModelError as error:
            self.task.run.lost(error)
            return Answer(error=str(error))
        except InvalidRequest as error:
            return Answer(error=str(error))
        return Answer(reply.text, key=request.key(), read=self._placed(item), cost_usd=self.task.cost_of(reply))

    async def _completed(self, request: ModelRequest, work: Work) -> ModelReply:
        """The reply; only what a model has really been asked for is waited for at no cost to the cell."""
        if self.task.run.ports.journal.recall(request.key()) is not None:
            return await self.task.model.complete(request)
        with self._answering():
            try:
                reply = await self.task.model.complete(request)
            except ModelError:
                self._count_waiting(work)
                raise
            self._count_waiting(work)
        return reply

    async def _request(self, item: QueryItem, salt: str) -> ModelRequest:
        run, model = self.task.run, self._model(item.model)
        messages = sub_messages(item.prompt, await self._given(item))
        room = int((model.window - run.sub_output) * _WINDOW_SHARE)
        estimator = run.pricing.estimator(model)
        needed = sum(estimator.estimate(message.content) for message in messages)
        if needed > room:
            characters = sum(len(message.content) for message in messages)
            raise InvalidRequest.at(
                "", f"about {needed:,} tokens do not fit the model: give it {characters * room // needed:,} characters"
            )
        request = run.request("sub", "llm_query", messages)
        return replace(request, model=model, parent=self.task.cell_name(self.number), salt=salt)

    def _model(self, name: str | None) -> ModelSpec:
        """The sub-model, or the root model if the code names it; no others are this run's."""
        run = self.task.run
        if name is None or name == "sub":
            return run.sub
        found = run.root if name == "root" else run.ports.catalog.find(name)
        if found is None or found not in (run.root, run.sub):
            raise InvalidRequest.at("model", f"must be {run.sub.id!r} or {run.root.id!r}")
        return found

    async def _given(self, item: QueryItem) -> str | None:
        """The text that goes with a prompt."""
        if not item.slices:
            return item.text
        self._check(item.slices)
        if sum(end - start for start, end in item.slices) > _MAX_JOINED_CHARACTERS:
            raise InvalidRequest.at("context_slice", "is too long for any model: use chunks, or rlm_query")
        return "\n".join([await self.task.passage.read(start, end) for start, end in item.slices])

    def _check(self, slices: Sequence[Sequence[int]]) -> None:
        if any(not start <= end <= self.task.passage.characters for start, end in slices):
            raise InvalidRequest.at("context_slice", "lies outside of the context")

    def _placed(self, item: QueryItem) -> tuple[Interval, ...]:
        """Where the text that a model was given lies in the context; what the sandbox says is cut to the context."""
        return placed(self.task.passage, [*item.slices, *item.shown])

    async def _child(self, asked: RlmQueryRequest, work: Work) -> Answer:
        passage = await self._passage(asked)
        path = f"{self.task.cell_name(self.number)}.{self._children}"
        child = replace(
            self.task,
            query=asked.prompt,
            passage=passage,
            path=path,
            depth=self.task.depth + 1,
            form=None,
        )
        try:
            with self._answering():
                found = await self._explored(child, work)
        except UsageLimitExceeded as limit:
            return Answer(error=str(limit), limits=((limit.limit, limit.allowed, limit.used),))
        except InvocationSpent:
            raise
        except RLMError as error:
            return Answer(error=str(error))
        if found.cited and not isinstance(found.value, str):
            # Marks are given the asker's numbers in a text; among values nobody tells them from lists of numbers.
            found = replace(found, value=unmarked(found.value), cited=())
        return Answer(whole_text(found.as_text()), read=found.read, cited=self._own_places(passage, found.cited))

    def _own_places(self, passage: Passage, cited: Sequence[Interval]) -> tuple[Interval, ...]:
        """Places of a child's passage as places of the one that it was cut from; a text that code made has none."""
        if passage is self.task.passage:
            return tuple(cited)
        if not isinstance(passage, Excerpt):
            return ()
        return tuple((passage.start + start, passage.start + end) for start, end in cited)

    async def _explored(self, child: Task, work: Work) -> Found:
        """What a child run has found; one that did not get as far as a turn has not been waited for."""
        before = self.task.run.ledger.usage.iterations
        try:
            return await self.task.answer_child(child)
        finally:
            if self.task.run.ledger.usage.iterations > before:
                self._count_waiting(work)

    async def _passage(self, asked: RlmQueryRequest) -> Passage:
        """What a child run is about: the slice, the text, or all that this run has."""
        if len(asked.slices) == 1:
            self._check(asked.slices)
            start, end = asked.slices[0]
            return Excerpt(self.task.passage, start, end)
        text = await self._given(asked)
        return self.task.passage if text is None else GivenText(text)

    def _budget(self) -> dict[str, object]:
        run, ledger = self.task.run, self.task.run.ledger
        usage, limits = ledger.usage, ledger.limits
        return {
            "cost_usd": round(usage.cost_usd, 8),
            "max_cost_usd": limits.max_cost_usd,
            "sub_calls": usage.sub_calls,
            "max_sub_calls": limits.max_sub_calls,
            "iterations": usage.iterations,
            "max_iterations": limits.max_iterations,
            "seconds_left": ledger.remaining_seconds(),
            "depth": self.task.depth,
            "max_depth": run.job.config.max_depth,
        }

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """The cell waits meanwhile; written down, because a crash now is no fault of the cell's.

        Once a limit was met most calls end where they begin, and nothing is written for them.
        """
        self._waiting += 1
        if not self._marked and not self.limits:
            self._mark(waiting=True)
        try:
            yield
        finally:
            self._waiting -= 1
            if self._marked and not self._waiting and not self._closed:
                self._mark(waiting=False)

    def _mark(self, *, waiting: bool) -> None:
        self._marked = waiting
        self.cells.wait(self.task.path, self.number, waiting=waiting)


def placed(passage: Passage, ranges: Sequence[Sequence[int]]) -> tuple[Interval, ...]:
    """Ranges of a passage as ranges of the context; what lies outside of the passage is left out."""
    inside = [(max(0, start), min(end, passage.characters)) for start, end in ranges]
    return tuple(place for start, end in inside if start < end and (place := passage.place(start, end)) is not None)


def _error(message: str) -> dict[str, object]:
    return {"error": message}
