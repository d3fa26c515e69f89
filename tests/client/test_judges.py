"""What a client shows of who chose the chunks."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rlm_client import JudgeEvent, RLMConfig
from rlm_client._cli.progress import print_event
from rlm_client._events import ServerSentEvent, run_event
from rlm_client._models import RLMResult, parse

SAID = '{"asked": "reranker", "judge": "%s", "chunks": 9, "costUsd": 0.0012, "durationMs": 40}'


@pytest.mark.parametrize(
    ("judge", "shown"),
    [("reranker", "Judge    reranker · 9 chunks"), ("bm25", "Judge    bm25 in place of reranker · 9 chunks")],
)
def test_judge_is_shown(judge: str, shown: str) -> None:
    event = run_event(ServerSentEvent("judge", SAID % judge, "2"))
    assert isinstance(event, JudgeEvent)
    console = Console(file=io.StringIO(), width=80)
    print_event(console, event)
    assert isinstance(console.file, io.StringIO)
    assert shown in console.file.getvalue()


def test_result_names_judge() -> None:
    result = parse(RLMResult, '{"success": true, "relevance": {"asked": "decision", "judge": "bm25"}}')
    assert result.relevance is not None
    assert (result.relevance.asked, result.relevance.judge) == ("decision", "bm25")


def test_unknown_judge_is_refused() -> None:
    with pytest.raises(ValueError, match="relevance"):
        RLMConfig.model_validate({"relevance": "magic"})
