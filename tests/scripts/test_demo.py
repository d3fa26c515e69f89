"""The demo's parts that need no model."""

from __future__ import annotations

import io

from rich.console import Console

from rlm_client import AnswerEvent, PlanEvent, RLMResult, SubcallEvent
from scripts.local.commands.demo_document import demo_documents, is_grounded
from scripts.local.commands.demo_view import DemoView, show_result


def test_document_is_long() -> None:
    assert sum(len(document.text) for document in demo_documents(large=False)) > 100_000
    assert sum(len(document.text) for document in demo_documents(large=True)) > 400_000


def test_answer_is_in_document() -> None:
    assert any(is_grounded(document.text) for document in demo_documents(large=False))
    assert is_grounded("It wraps the execution of a block with methods defined by a context manager.")
    assert not is_grounded("The with statement is used to create a context manager.")


def test_progress_is_shown() -> None:
    shown = io.StringIO()
    with DemoView(Console(file=shown, width=120)) as view:
        view.show(PlanEvent(strategy="map_reduce", chunks=2, chunk_size=6000))
        view.show(SubcallEvent(done=1, chunks=2, input_tokens=10, duration_ms=1500))
        view.show(AnswerEvent(delta="x"))
        view.show(AnswerEvent(delta="y"))
    text = shown.getvalue()
    assert "map_reduce: 2 chunks" in text
    assert "1 of 2 chunks read" in text
    assert text.count("the root model answers") == 1


def test_result_is_shown() -> None:
    shown = io.StringIO()
    result = RLMResult(
        success=True, answer="[bold]42[/]", strategy="direct", cost_usd=0.001, warnings=["careful"], coverage=1.0
    )
    show_result(Console(file=shown, width=120), result)
    for part in ("[bold]42[/]", "direct", "$0.001000", "careful", "100%"):
        assert part in shown.getvalue()
