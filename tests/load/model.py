"""The scripted model as a cashier: who asked, and what that costs by the catalogue's prices, whatever came of it."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from rlm_worker.models.catalog import Catalog
from scripts.local.scripted.calls import ChatCall, count_tokens, cut_to_tokens
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import needle

_MARK = re.compile(r"special magic number for (load-\d+-\d+)")
FAULTY_SHARE = 0.05


@dataclass(frozen=True)
class BilledFault(Fault):
    """A fault whose calls are paid for all the same."""

    bill: Callable[[ChatCall], None] = field(default=lambda _: None, compare=False)

    def concerns(self, call: ChatCall) -> bool:
        struck = super().concerns(call)
        if struck:
            self.bill(call)
        return struck


@dataclass
class Cashier:
    """Answers by the usual rule and writes a bill for each mark that a question carries.

    What a call costs that was given up after a time-out nobody reports: `given_up` holds the most that it can, prompt
    and all the output that it was allowed, apart from the other bills.
    """

    bills: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    given_up: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: int = 0
    empty: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _catalog: Catalog = field(default_factory=Catalog.standard)

    def faults(self) -> list[Fault]:
        """A share of the answers empty, and a share never there, each of them once at a prompt."""
        return [
            BilledFault("empty", rate=FAULTY_SHARE, seed=1, bill=self._bill_empty),
            BilledFault("hang", rate=FAULTY_SHARE, seed=2, bill=self._bill_given_up),
        ]

    def rule(self, call: ChatCall) -> str:
        """The answer, billed as the server will report its tokens."""
        content = str(needle()(call) or "")
        spoken, _ = cut_to_tokens(content, call.max_tokens)
        self._bill(self.bills, call, max(1, count_tokens(spoken)))
        return content

    def _bill_empty(self, call: ChatCall) -> None:
        self.empty += 1
        self._bill(self.bills, call, 1)

    def _bill_given_up(self, call: ChatCall) -> None:
        self._bill(self.given_up, call, call.max_tokens or 0)

    def _bill(self, book: dict[str, float], call: ChatCall, tokens: int) -> None:
        model, mark = self._catalog.find(call.model), _MARK.search(call.user)
        if model is None or mark is None:
            raise ValueError(f"a call that no request explains: {call.model}")
        with self._lock:
            self.calls += 1
            book[mark[1]] += model.cost(call.prompt_tokens, tokens)


def forget_texts(model: ScriptedModel) -> None:
    """Lets go of the prompts of calls that have ended: a long run would pile up gigabytes."""
    model.calls[:] = [entry for entry in model.calls if entry.ended is None]
