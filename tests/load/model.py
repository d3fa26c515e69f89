"""The scripted model as a cashier: who asked, and what that costs by the catalogue's prices."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field

from rlm_worker.models.catalog import Catalog
from scripts.local.scripted.calls import ChatCall, count_tokens, cut_to_tokens
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import needle

_MARK = re.compile(r"special magic number for (load-\d+-\d+)")


@dataclass
class Cashier:
    """Answers by the usual rule and writes a bill for each mark that a question carries."""

    bills: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _catalog: Catalog = field(default_factory=Catalog.standard)

    def rule(self, call: ChatCall) -> str:
        """The answer, billed as the server will report its tokens."""
        content = str(needle()(call) or "")
        spoken, _ = cut_to_tokens(content, call.max_tokens)
        model, mark = self._catalog.find(call.model), _MARK.search(call.user)
        if model is None or mark is None:
            raise ValueError(f"a call that no request explains: {call.model}")
        with self._lock:
            self.calls += 1
            self.bills[mark[1]] += model.cost(call.prompt_tokens, max(1, count_tokens(spoken)))
        return content


def forget_texts(model: ScriptedModel) -> None:
    """Lets go of the prompts of calls that have ended: a long run would pile up gigabytes."""
    model.calls[:] = [entry for entry in model.calls if entry.ended is None]
