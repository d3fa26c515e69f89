"""A session's events as a chat completion's chunks: whatever happens, the text ends with the whole answer."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.openai.stream import ChatHead, ChatStream, whole_stream
from rlm_worker.wire.results import ErrorBody, RunResult

HEAD = ChatHead(id="chatcmpl-1", created=1, model="root+sub", include_usage=True)


def chunks(text: str) -> list[dict[str, object]]:
    events = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    return [json.loads(event) for event in events if event != "[DONE]"]


def said(text: str) -> str:
    choices = [choice for chunk in chunks(text) for choice in chunk.get("choices", [])]  # type: ignore[attr-defined]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def played(attempts: list[list[str]], answer: str) -> str:
    stream = ChatStream(HEAD)
    text = stream.translate("session", {"sessionId": "1"}) + stream.translate("plan", {})
    for number, deltas in enumerate(attempts):
        if number:
            text += stream.translate("answer", {"delta": "", "restart": True})
        text += "".join(stream.translate("answer", {"delta": delta}) for delta in deltas)
    result = RunResult(success=True, answer=answer, total_input_tokens=3, total_output_tokens=4)
    return text + stream.translate("result", json.loads(result.to_json()))


WORDS = st.lists(st.text("ab c", min_size=1, max_size=4), max_size=6)


@given(WORDS)
def test_deltas_make_answer(deltas: list[str]) -> None:
    answer = "".join(deltas).strip()
    text = played([deltas], answer)
    assert said(text).strip() == answer
    assert text.endswith("data: [DONE]\n\n")


@given(st.lists(WORDS, min_size=1, max_size=3))
def test_attempts_end_in_answer(attempts: list[list[str]]) -> None:
    answer = "".join(attempts[-1]).strip()
    assert said(played(attempts, answer)).strip().endswith(answer)


@given(WORDS, st.integers(0, 6))
def test_same_words_again_are_silent(deltas: list[str], broken_at: int) -> None:
    answer = "".join(deltas).strip()
    assert said(played([deltas[:broken_at], deltas], answer)).strip() == answer


def test_usage_comes_last() -> None:
    *_, finish, counted = chunks(whole_stream(HEAD, RunResult(success=True, answer="x", total_input_tokens=5)))
    assert finish["choices"][0]["finish_reason"] == "stop"  # type: ignore[index]
    assert counted["choices"] == []
    usage = {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}
    details = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
    assert counted["usage"] == {**usage, **details}


def test_failure_ends_stream() -> None:
    failed = RunResult(success=False, error=ErrorBody(type="model_refused", message="no"))
    last = chunks(whole_stream(HEAD, failed))[-1]
    assert last["error"]["code"] == "model_refused"  # type: ignore[index]
