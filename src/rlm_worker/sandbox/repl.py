"""A REPL: runs one cell after another in one namespace and says what came of each, as JSON."""

from __future__ import annotations

import ast
import contextlib
import json
import linecache
import random
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .cites import Cites
from .guard import CellTimeout, Guard
from .listing import listed
from .output import HeadTail
from .text import DocumentSpan, Origin
from .tools import FailedAnswer, Finished, QueryError, Tools
from .values import plain, summaries

Call = Callable[[str], str]
_CELL = "<cell"
_MAX_TRACEBACK = 4_000
# Time for what the REPL itself does after a cell, which may run methods of the cell's own objects.
_SUMMARY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What a REPL begins with: the context's documents as [name, characters], the query, and which tools exist."""

    documents: list[list[object]]
    query: str
    tools: list[str]
    output_limit: int
    seed: str

    @classmethod
    def from_json(cls, text: str) -> Setup:
        return cls(**json.loads(text))

    def spans(self) -> list[DocumentSpan]:
        found, at = [], 0
        for name, characters in self.documents:
            assert isinstance(characters, int)
            found.append(DocumentSpan(None if name is None else str(name), at, at + characters))
            at += characters
        return found


class Repl:
    """The state between cells; `call` asks the host, JSON to JSON."""

    def __init__(self, setup: Setup, call: Call) -> None:
        self._setup = setup
        self._call = call
        self._guard = Guard()
        self._origin = Origin(self._read, setup.spans())
        self._cites = Cites(self._origin)
        self._tools = Tools(self._ask, self._origin, self._cites)
        self._variables: dict[str, object] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._cell = 0
        self._stopped = ""
        self._tool_names: dict[str, object] = {}

    def run(self, request: str) -> str:
        """Runs a cell: `{"cell", "code", "seconds"}` to what it printed, its final value, and the variables.

        A cell that an earlier session wrote has that one's `seed` and `query`; `cited` are the places that cells before
        this one have cited, as the session has them.
        """
        asked = json.loads(request)
        before = [(int(start), int(end)) for start, end in asked.get("cited", ())]
        self._cites.places = [*before]
        self._cell, self._stopped = asked["cell"], ""
        self._tools.finished, self._tools.final = False, None
        if not self._tool_names:
            self._tool_names = self._named()
        self._variables |= self._tool_names | {"query": asked.get("query", self._setup.query)}
        self._variables.setdefault("answer", {"content": "", "ready": False})
        random.seed(f"{asked.get('seed', self._setup.seed)} {self._cell}")
        output = HeadTail(self._setup.output_limit)
        failed = self._guarded(lambda: self._execute(str(asked["code"])), output, float(asked["seconds"]))
        cited = self._cites.places[len(before) :]
        return _wire({"cell": self._cell, "failed": failed, "cited": cited, **self._report(output)})

    def _named(self) -> dict[str, object]:
        tools = self._tools
        functions: dict[str, object] = {
            name: getattr(tools, name)
            for name in ("llm_query", "llm_query_batched", "rlm_query", "budget")
            if name in self._setup.tools
        }
        if "cite" in self._setup.tools:
            functions["cite"] = self._cites.cite
        return functions | {
            "context": self._origin.whole(),
            "show": self._show,
            "query": self._setup.query,
            "QueryError": QueryError,
            "FailedAnswer": FailedAnswer,
            "SHOW_VARS": self._show_variables,
            "FINAL": tools.FINAL,
            "FINAL_VAR": lambda name: tools.FINAL_VAR(name, self._variables),
            "SUBMIT": tools.SUBMIT,
        }

    def _guarded(self, work: Callable[[], object], output: HeadTail, seconds: float) -> bool:
        """Does something for a limited time with its output caught; gives whether it failed."""
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            self._guard.arm(seconds)
            try:
                work()
            except Finished:
                self._guard.disarm()
            except CellTimeout:
                self._guard.disarm()
                limit = self._stopped or f"TimeLimit: the cell was stopped after {seconds:g} s of computing"
                output.write(f"\n{limit}; its variables stay\n")
                return True
            except BaseException as error:  # noqa: BLE001 - whatever model-written code raises is for the model to see
                self._guard.disarm()
                output.write(_traceback(error))
                return True
            finally:
                self._guard.disarm()
                self._guard.rest()
        return False

    def _execute(self, code: str) -> None:
        name = f"{_CELL} {self._cell}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), self._variables)  # noqa: S102 - this is what the sandbox is for
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), self._variables)  # noqa: S307
            if value is not None:
                self._variables["_"] = value
                print(repr(value))  # noqa: T201 - the echo of a REPL

    def _report(self, output: HeadTail) -> Mapping[str, object]:
        report: dict[str, object] = {"variables": [], "draft": None}

        def summarize() -> None:
            report["variables"] = summaries(self._user_variables())
            self._take_answer(report)

        printed = output.getvalue()
        self._guarded(summarize, HeadTail(100), _SUMMARY_SECONDS)
        shown = self._origin.shown_in(printed)
        return report | {
            "output": printed,
            "finished": self._tools.finished,
            "final": self._tools.final,
            "shown": shown,
        }

    def _take_answer(self, report: dict[str, object]) -> None:
        """Understands `answer`: a dictionary with `content` and `ready`, or simply a draft."""
        answer = self._variables.get("answer")
        if not isinstance(answer, dict):
            report["draft"] = str(plain(answer))[:_MAX_TRACEBACK]
            return
        content = plain(answer.get("content", ""))
        report["draft"] = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        if answer.get("ready") is True and not self._tools.finished:
            with contextlib.suppress(Finished):
                self._tools.FINAL(content)

    def _user_variables(self) -> dict[str, object]:
        return {
            name: value for name, value in self._variables.items() if name not in self._tool_names and name != "answer"
        }

    def _show(self, document: object = 0, first: int = 1, last: int | None = None) -> None:
        """Prints lines of a document with their numbers."""
        print(listed(self._origin, document, first, last))  # noqa: T201 - this is what it is for

    def _show_variables(self) -> str:
        return "\n".join(summaries(self._user_variables())) or "(no variables yet)"

    def _ask(self, request: Mapping[str, object]) -> object:
        answer: Mapping[str, object] = {}
        self._guard.pause()
        try:
            answer = json.loads(self._call(_wire({"cell": self._cell, **request})))
        finally:
            self._guard.resume(_seconds(answer.get("waited")))
        if answer.get("over"):
            self._stopped = f"CallLimit: {answer['error']}"
            self._guard.expire()
        if self._guard.is_over:
            self._guard.insist()
            raise CellTimeout
        if "error" in answer:
            raise QueryError(answer["error"])
        return answer["value"]

    def _read(self, start: int, end: int) -> str:
        return str(self._ask({"op": "read", "start": start, "end": end}))


def _seconds(waited: object) -> float:
    return float(waited) if isinstance(waited, int | float) else 0.0


def _wire(message: Mapping[str, object]) -> str:
    """JSON without halves of surrogate pairs, which no reader of UTF-8 takes."""
    text = json.dumps(message, ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _traceback(error: BaseException) -> str:
    """A traceback of the cells' own lines: what lies between is none of the model's business."""
    shown = traceback.TracebackException.from_exception(error, limit=-60)
    shown.__cause__ = shown.__context__ = None
    shown.stack = traceback.StackSummary.from_list([frame for frame in shown.stack if frame.filename.startswith(_CELL)])
    text = "".join(shown.format())
    if len(text) <= _MAX_TRACEBACK:
        return text
    return f"{text[: _MAX_TRACEBACK // 2]}\n…\n{text[-_MAX_TRACEBACK // 2 :]}"
