"""The decorators around a model stand in the order that their docstring gives."""

from __future__ import annotations

import re

from rlm_worker.budget.funding import UNLIMITED_USD, Funds, Grant, Unlimited
from rlm_worker.budget.ledger import Ledger, UsageLimits
from rlm_worker.journal.session import SessionJournal
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.stack import ModelStack
from rlm_worker.ports import Deployment
from rlm_worker.testing import FunctionModel, ManualClock, SqliteDatabase, reply_of, unpaced


def test_order_is_as_written() -> None:
    clock = ManualClock()
    adapter = FunctionModel(lambda request: reply_of(request, ""))
    ledger = Ledger(UsageLimits(), clock.now)
    stack = ModelStack(
        adapter, SessionJournal(SqliteDatabase()), clock, Catalog.standard(), Deployment(), ledger, unpaced(clock)
    )
    model: object = stack.build(Funds(ledger, Grant(Unlimited(), "tester", "run", UNLIMITED_USD)))
    order: list[str] = []
    while model is not adapter:
        order.append(type(model).__name__)
        model = getattr(model, "model", None) or getattr(model, "_model", None)
    assert order == re.findall(r"^    \d+\. `(\w+)`", ModelStack.__doc__ or "", re.MULTILINE)
