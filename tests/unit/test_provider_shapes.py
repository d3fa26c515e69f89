"""Other people's shapes: what is sent, what is read, what their refusals mean, and what nobody may see."""

from __future__ import annotations

import json
import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.adapters.providers.answers import Answer
from rlm_worker.adapters.providers.chat_shape import ChatShape
from rlm_worker.adapters.providers.failures import http_failure, retry_after
from rlm_worker.adapters.providers.messages_shape import MessagesShape
from rlm_worker.adapters.providers.secrets import redacted
from rlm_worker.adapters.providers.thoughts import ThoughtFilter, without_thoughts
from rlm_worker.errors import InputTooLarge, RetryableError, TerminalError
from rlm_worker.messages import (
    CallUsage,
    Declined,
    Message,
    ModelRequest,
    ModelSpec,
    OutputExhausted,
    Prefix,
    UnusableReply,
)
from rlm_worker.models.catalog import Catalog

CATALOG = Catalog.standard()
KEY = "sk-ant-api03-0123456789abcdef"


def spec(name: str) -> ModelSpec:
    found = CATALOG.find(name)
    assert found is not None
    return found


def request(model: ModelSpec, **more: object) -> ModelRequest:
    messages = (Message("system", "Be brief."), Message("user", "Which colour?"))
    return ModelRequest(model, messages, 4_096, **more)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_thoughts_are_dropped(cuts: list[int], reasons: bool) -> None:
    whole = "<think>It says <b> and </thin and more.</think>\n\nBlue, as <think> shows."
    points = sorted({min(cut, len(whole)) for cut in cuts})
    pieces = [whole[start:end] for start, end in zip([0, *points], [*points, len(whole)], strict=True)]
    thoughts = ThoughtFilter(reasons)
    said = "".join(thoughts.take(piece).text for piece in pieces) + thoughts.rest()
    assert said == "Blue, as <think> shows."


@given(st.lists(st.integers(0, 40), max_size=4))
def test_template_opens_thoughts(cuts: list[int]) -> None:
    """The opening tag can stand in the prompt's template: then what was said before the closing one is void."""
    whole = "It says so.\n</think>\n\nBlue."
    points = sorted({min(cut, len(whole)) for cut in cuts})
    thoughts, said = ThoughtFilter(reasons=True), ""
    for start, end in zip([0, *points], [*points, len(whole)], strict=True):
        spoken = thoughts.take(whole[start:end])
        said = spoken.text if spoken.restart else said + spoken.text
    assert said + thoughts.rest() == "Blue."


@pytest.mark.parametrize(
    ("text", "reasons", "answer"),
    [
        ("<think>never ends", True, ""),
        ("<think>is a tag", False, "<think>is a tag"),
        ("Use </think> here", False, "Use </think> here"),
        ("<thin", True, "<thin"),
        ("  <think></think><think>again</think> Blue", False, "Blue"),
        ("plain", True, "plain"),
        ("  indented", True, "  indented"),
        ("", True, ""),
    ],
)
def test_only_thoughts_are_dropped(text: str, reasons: bool, answer: str) -> None:
    assert without_thoughts(text, reasons=reasons) == answer


def test_messages_body() -> None:
    body = MessagesShape("anthropic").body(request(spec("anthropic/claude-haiku-4-5")), stream=True)
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert body["messages"] == [{"role": "user", "content": "Which colour?"}]
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (4_096, 0.0, True)
    assert "thinking" not in body


def test_sampling_is_left_out() -> None:
    for name, shape in (("anthropic/claude-sonnet-5-5", MessagesShape("a")), ("openai/gpt-5-mini", ChatShape("o"))):
        assert "temperature" not in shape.body(request(spec(name)), stream=False)


@pytest.mark.parametrize(
    ("name", "effort", "thinking", "output"),
    [
        ("anthropic/claude-sonnet-5-5", "medium", {"type": "adaptive"}, {"effort": "medium"}),
        ("anthropic/claude-sonnet-5-5", "minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("anthropic/claude-sonnet-5-5", "none", {"type": "disabled"}, None),
        ("anthropic/claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 1_024}, None),
        ("anthropic/claude-haiku-4-5", "max", {"type": "enabled", "budget_tokens": 2_048}, None),
    ],
)
def test_thinking_is_asked_for(name: str, effort: str, thinking: object, output: object) -> None:
    body = MessagesShape("anthropic").body(request(spec(name), effort=effort), stream=False)
    assert (body["thinking"], body.get("output_config")) == (thinking, output)
    assert ("temperature" in body) is False


@pytest.mark.parametrize(
    ("name", "wanted", "sent"),
    [
        ("@cf/zai-org/glm-5.3-flash", "medium", "low"),
        ("@cf/zai-org/glm-5.3-flash", "none", "low"),
        ("openai/gpt-5-mini", "none", "minimal"),
        ("openai/gpt-6-luna", "none", "none"),
        ("openai/gpt-6-luna", "max", "high"),
    ],
)
def test_effort_is_one_that_it_takes(name: str, wanted: str, sent: str) -> None:
    body = ChatShape("openai").body(request(spec(name), effort=wanted), stream=False)
    assert body["reasoning_effort"] == sent


def test_turns_are_kept_for_the_next() -> None:
    body = MessagesShape("anthropic").body(request(spec("anthropic/claude-haiku-4-5"), kind="turn"), stream=False)
    assert "cache_control" in json.dumps(body["messages"])


def about_text(model: str, cache_key: str) -> ModelRequest:
    prefix = Prefix(len("Long text.\n"), "0" * 32)
    messages = (Message("system", "Be brief."), Message("user", "Long text.\nWhich colour?", prefix=prefix))
    return ModelRequest(spec(model), messages, 4_096, cache_key=cache_key)


def test_text_is_kept_for_the_next_question() -> None:
    body = MessagesShape("anthropic").body(about_text("anthropic/claude-haiku-4-5", "0" * 32), stream=False)
    kept = {"type": "text", "text": "Long text.\n", "cache_control": {"type": "ephemeral"}}
    assert body["messages"] == [{"role": "user", "content": [kept, {"type": "text", "text": "Which colour?"}]}]


def test_text_is_not_kept_unasked() -> None:
    """Keeping costs a quarter more: where nothing is to be kept, the text is sent as it is."""
    body = MessagesShape("anthropic").body(about_text("anthropic/claude-haiku-4-5", ""), stream=False)
    assert body["messages"] == [{"role": "user", "content": "Long text.\nWhich colour?"}]


@pytest.mark.parametrize("field", ["prompt_cache_key", "session_id", ""])
def test_cache_key_is_sent_where_it_is_known(field: str) -> None:
    """A server of OpenAI's shape may refuse a field that it does not know."""
    asked = about_text("openai/gpt-5-mini", "0" * 32)
    body = ChatShape("openai", cache_key_field=field).body(asked, stream=False)
    assert {"prompt_cache_key", "session_id"} & body.keys() == ({field} if field else set())
    assert not field or body[field] == "0" * 32
    plain = ChatShape("openai", cache_key_field=field).body(about_text("openai/gpt-5-mini", ""), stream=False)
    assert not {"prompt_cache_key", "session_id"} & plain.keys()


def test_messages_usage_is_whole() -> None:
    """What came from the cache stands beside the input at Anthropic's, and is part of it here; thinking is output."""
    model = spec("anthropic/claude-haiku-4-5")
    answer, shape = Answer(request(model)), MessagesShape("anthropic")
    usage = {"input_tokens": 10, "cache_read_input_tokens": 2_000, "cache_creation_input_tokens": 500}
    shape.take_event(answer, {"type": "message_start", "message": {"usage": {**usage, "output_tokens": 1}}})
    shape.take_event(answer, {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "Hm."}})
    shape.take_event(answer, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Blue."}})
    last = {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 30}}
    shape.take_event(answer, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last})
    shape.take_event(answer, {"type": "message_stop"})
    reply = answer.reply()
    assert (reply.text, reply.finish_reason) == ("Blue.", "stop")
    assert reply.usage == CallUsage(2_510, 40, cached_tokens=2_000, written_tokens=500, reasoning_tokens=30)
    assert model.bill(reply.usage) == pytest.approx((10 * 1 + 2_000 * 0.1 + 500 * 1.25 + 40 * 5) / 1e6)


@pytest.mark.parametrize(
    ("stop_reason", "error"),
    [("max_tokens", OutputExhausted), ("refusal", Declined), ("model_context_window_exceeded", OutputExhausted)],
)
def test_empty_answer_says_why(stop_reason: str, error: type[Exception]) -> None:
    answer = Answer(request(spec("anthropic/claude-haiku-4-5")))
    MessagesShape("a").take(
        answer, {"content": [], "stop_reason": stop_reason, "usage": {"input_tokens": 5, "output_tokens": 9}}
    )
    with pytest.raises(error) as raised:
        answer.reply()
    assert raised.value.usage == CallUsage(5, 9)  # type: ignore[attr-defined]


def test_reasoning_is_no_answer() -> None:
    answer = Answer(request(spec("openai/gpt-5-mini")))
    message = {
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Blue."}],
        "reasoning": "Hm.",
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}
    shape = ChatShape("openai")
    shape.take(
        answer,
        {
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": usage,
            "model": "openai/gpt-5-mini-2025-08-07",
        },
    )
    reply = answer.reply()
    assert (reply.text, reply.model) == ("Blue.", "openai/gpt-5-mini")
    assert reply.usage is not None
    assert reply.usage.reasoning_tokens == 7


@pytest.mark.parametrize(
    ("status", "body", "headers", "passing", "work"),
    [
        (429, {"error": {"type": "rate_limit_error"}}, {"retry-after": "7"}, True, "none"),
        (529, {"error": {"type": "overloaded_error"}}, {}, True, "none"),
        (408, {}, {}, True, "unfinished"),
        (504, {}, {}, True, "unfinished"),
        (500, {}, {}, True, "none"),
        (500, {}, {"x-should-retry": "false"}, False, "none"),
        (400, {}, {"x-should-retry": "true"}, True, "none"),
        (402, {"error": {"message": "no credits"}}, {}, False, "none"),
        (402, {"error": {"metadata": {"limit_source": "openrouter_in_flight_budget"}}}, {}, True, "none"),
        (429, {"error": {"code": "insufficient_quota"}}, {"x-should-retry": "true"}, False, "none"),
        (429, {"error": {"type": "rate_limit_error", "error_code": "spend_limit"}}, {}, False, "none"),
        (424, {"error": {"code": 2016, "message": "Prompt blocked"}}, {}, False, "none"),
        (301, {}, {}, False, "none"),
    ],
)
def test_refusals_are_told_apart(status: int, body: object, headers: dict[str, str], passing: bool, work: str) -> None:
    error = http_failure("p", status, headers, json.dumps(body))
    assert isinstance(error, RetryableError if passing else TerminalError)
    assert error.work == work
    assert not isinstance(error, RetryableError) or error.capacity == (status in (429, 529))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (413, {"error": {"type": "request_too_large"}}),
        (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
        (400, {"error": {"code": "context_length_exceeded"}}),
        (400, {"error": {"message": "This model's maximum context length is 128000 tokens."}}),
    ],
)
def test_too_long_is_told_apart(status: int, body: object) -> None:
    assert isinstance(http_failure("p", status, {}, json.dumps(body)), InputTooLarge)


def test_waits_are_obeyed() -> None:
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "9"}) == 9
    assert retry_after({"retry-after": formatdate(4_102_444_800, usegmt=True)}) > 0
    assert retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert retry_after({"retry-after": "soon"}) == retry_after({}) == 0


@given(st.integers(0, 20), st.integers(8, 29), st.text(max_size=20))
def test_pieces_of_keys_are_hidden(start: int, size: int, around: str) -> None:
    piece = KEY[start : start + size]
    shown = redacted(f"{around}{piece}{around}", [KEY, ""])
    assert len(piece) < 8 or piece not in shown or piece in around * 2


def test_cut_keys_are_hidden() -> None:
    assert redacted(f"wrong key {KEY[:14]}…{KEY[-9:]}!", [KEY]) == "wrong key [secret]…[secret]!"
    assert redacted("short: pass", ["pass"]) == "short: [secret]"


@pytest.mark.parametrize("told", [math.inf, math.nan, -1, True, "9"])
def test_odd_numbers_are_none(told: object) -> None:
    """JSON as it is read may say 1e999: no count of tokens, and no bill."""
    answer = Answer(request(spec("llama-3.1-8b")))
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "cost": told}
    ChatShape("router", reports_cost=True).take(answer, {"choices": [], "usage": usage})
    assert answer.usage == CallUsage(7, 2)
    ChatShape("router").take(answer, {"choices": [], "usage": {"prompt_tokens": told, "completion_tokens": 2}})
    assert answer.usage == CallUsage(7, 2)


def test_opening_usage_is_no_bill() -> None:
    """Anthropic says one token of output before it writes; a stream that breaks off later has cost what was said."""
    shape, answer = MessagesShape("anthropic"), Answer(request(spec("anthropic/claude-haiku-4-5")))
    opening = {"input_tokens": 9, "output_tokens": 1}
    shape.take_event(answer, {"type": "message_start", "message": {"usage": opening}})
    overloaded = RetryableError("overloaded")
    assert isinstance(answer.failed(overloaded), UnusableReply)
    shape.take_event(answer, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Blue " * 900}})
    broken = answer.broken("")
    assert (broken.usage, len(broken.text)) == (None, 4_500)
    shape.take_event(answer, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 900}})
    assert answer.broken("").usage == CallUsage(9, 900)
