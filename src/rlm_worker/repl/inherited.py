"""The variables of an earlier session: its cells and all that they were answered, run again at no cost.

A follow-up has a copy of them in its own journal, before its own cells. They run as they ran first: with the numbers,
the chance and the `query` of the session that wrote them, so that they ask what is answered there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import Field

from rlm_worker.errors import NotFound
from rlm_worker.journal.cells import CellOutcome, CellRecord, CellTable, Origin
from rlm_worker.ports import CallRecord, Interval, ObjectStubs
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import Run
from rlm_worker.wire.base import Wire

# About so much crosses at once, in characters; a cell goes whole.
_PAGE_CHARACTERS = 4_000_000
_OWN_REPL = ""


class InheritedCell(Wire):
    """A cell that ended, what it asked by digest with the answers, and the session that wrote it: chance and query."""

    number: int
    code: str
    outcome: str
    seed: str
    query: str
    asked: list[list[str]]

    @property
    def characters(self) -> int:
        return len(self.code) + len(self.outcome) + sum(len(answer) for _, answer in self.asked)


class CellPage(Wire):
    """Some cells in order, the number of the last one that there is, and whether more follow."""

    cells: list[InheritedCell] = Field(default_factory=list)
    last: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a REPL begins with: so many cells before its own, their variables, and what they had read and each cited."""

    cells: int = 0
    variables: tuple[str, ...] = ()
    read: tuple[Interval, ...] = ()
    cited: Mapping[int, tuple[Interval, ...]] = field(default_factory=dict)


def has_repl(cells: CellTable | None, job: Job) -> bool:
    """Whether a session has cells to hand on; one that was cut off while it took some over has none of its own."""
    if cells is None:
        return False
    follows = job.conversation is not None and bool(job.conversation.repl_session_id)
    return not (follows and cells.inherited() is None) and bool(cells.cells(_OWN_REPL))


def seed_of(session_id: str, path: str) -> str:
    """What decides chance in a REPL."""
    return f"{session_id} {path}"


def page_of(cells: CellTable, recall: Callable[[str], CallRecord | None], job: Job, after: int) -> CellPage:
    """The cells of a session's REPL behind that one, those that it has inherited itself included."""
    known = cells.cells(_OWN_REPL)
    page: list[InheritedCell] = []
    used, last = 0, known[-1].number if known else 0
    for cell in known:
        if cell.number <= after or cell.state != "finished" or cell.outcome is None:
            continue
        if page and used > _PAGE_CHARACTERS:
            return CellPage(cells=page, last=last, more=True)
        page.append(_handed_on(cells, recall, job, cell, cell.outcome))
        used += page[-1].characters
    return CellPage(cells=page, last=last)


async def take_over(run: Run) -> Inherited:
    """Copies the cells of the session before into this one's journal, once; nothing where there are none.

    A session that was deleted meanwhile leaves none.
    """
    cells, conversation = run.ports.cells, run.job.conversation
    if cells is None or conversation is None or not conversation.repl_session_id:
        return Inherited()
    if cells.inherited() is None:
        if run.ports.sessions is None:
            return Inherited()
        try:
            cells.set_inherited(await _copied(cells, run.ports.sessions, conversation.repl_session_id, run.job.owner))
        except NotFound:
            run.warn("the variables of the session before are gone: it was deleted")
            cells.forget_adopted()
            cells.set_inherited(0)
    return _inherited(cells, cells.inherited() or 0)


async def _copied(cells: CellTable, sessions: ObjectStubs, session_id: str, owner: str) -> int:
    """Copies page by page; gives the number of the last cell. What a crash has cut off is copied anew."""
    after = 0
    cells.forget_adopted()
    while True:
        page = CellPage.model_validate(await sessions.call(session_id, "repl_page", owner, after))
        for cell in page.cells:
            cells.adopt(cell.number, cell.code, cell.outcome, Origin(cell.seed, cell.query))
            for digest, answer in cell.asked:
                cells.keep_answer(_OWN_REPL, cell.number, digest, answer)
            after = cell.number
        if not page.more:
            return page.last


def _inherited(cells: CellTable, last: int) -> Inherited:
    known = {cell.number: cell.outcome for cell in cells.cells(_OWN_REPL) if cell.number <= last}
    by_number = {number: outcome for number, outcome in known.items() if outcome is not None}
    outcomes = list(by_number.values())
    variables = next((outcome.variables for outcome in reversed(outcomes) if outcome.variables), ())
    cited = {number: outcome.cited for number, outcome in by_number.items()}
    return Inherited(last, variables, tuple(interval for outcome in outcomes for interval in outcome.read), cited)


def _handed_on(
    cells: CellTable, recall: Callable[[str], CallRecord | None], job: Job, cell: CellRecord, outcome: CellOutcome
) -> InheritedCell:
    origin = cells.origin(cell.number) or Origin(seed_of(job.session_id, _OWN_REPL), job.query)
    asked = cells.answers(_OWN_REPL, cell.number)
    return InheritedCell(
        number=cell.number,
        code=cell.code,
        outcome=outcome.to_json(),
        seed=origin.seed,
        query=origin.query,
        asked=[[digest, "".join(_self_contained(answer, recall))] for digest, answer in asked],
    )


def _self_contained(answers: str, recall: Callable[[str], CallRecord | None]) -> Iterator[str]:
    """Answers as `host.Answer` writes them down, with their texts in place of the calls that only this journal has."""
    rows = []
    for text, error, key, *more in json.loads(answers):
        call = recall(key) if key else None
        rows.append([call.text if call else text, error, "" if call else key, *more])
    yield json.dumps(rows, ensure_ascii=False)
