"""The scripted model over HTTP: rules, faults, limits, log and control."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from scripts.local.scripted.calls import Reply, count_tokens
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rate import Rate, RateCounter, Window
from scripts.local.scripted.rules import counter, echo, fixed, for_model, needle, sequence, when

CLIENT = httpx.Client(timeout=30)
NEEDLE = "One of the special magic numbers for tower is: 8123456."


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedModel]:
    with CLIENT, ScriptedModel() as model:
        yield model


@pytest.fixture
def model(server: ScriptedModel) -> ScriptedModel:
    server.reset()
    return server


def ask(model: ScriptedModel, text: str, **params: object) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **params}
    return CLIENT.post(f"{model.url}/chat/completions", json=body)


def content(response: httpx.Response) -> object:
    return response.json()["choices"][0]["message"]["content"]


def test_needle_found(model: ScriptedModel) -> None:
    assert content(ask(model, f"noise. {NEEDLE} noise. What is the number for tower?")) == NEEDLE


def test_other_needles_ignored(model: ScriptedModel) -> None:
    assert content(ask(model, f"{NEEDLE} What is the number for bridge? Else NONE.")) == "NONE"


def test_nothing_found(model: ScriptedModel) -> None:
    assert content(ask(model, "just noise")) == "The text does not hold the answer."


def test_own_pattern(model: ScriptedModel) -> None:
    model.rules = [needle(r"secret \w+")]
    assert content(ask(model, "a secret word and a secret place")) == "secret word\nsecret place"


def test_counts_add_up(model: ScriptedModel) -> None:
    model.rules = [counter("apple")]
    assert content(ask(model, "apple apple; count: 3; count: 4")) == "count: 9"


def test_first_rule_that_answers(model: ScriptedModel) -> None:
    model.rules = [when("x", fixed("for x")), for_model("other", fixed("for other")), echo()]
    assert [content(ask(model, text)) for text in ("x", "y")] == ["for x", "y"]


def test_sequence_keeps_last(model: ScriptedModel) -> None:
    model.rules = [sequence(["one", "two"])]
    assert [content(ask(model, "?")) for _ in range(3)] == ["one", "two", "two"]


def test_max_tokens_cut(model: ScriptedModel) -> None:
    model.rules = [fixed("a" * 100)]
    response = ask(model, "?", max_tokens=5).json()
    assert response["choices"][0]["finish_reason"] == "length"
    assert response["usage"]["completion_tokens"] == 5


def test_usage_can_be_absent(model: ScriptedModel) -> None:
    model.rules = [lambda _call: Reply("words", usage={})]
    assert ask(model, "?").json()["usage"] == {}


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("word", 1), ("eight by", 2), ("日本語", 3), ("😀", 1)])
def test_token_counts(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_fault_by_number(model: ScriptedModel) -> None:
    model.faults = [Fault(3040, calls=frozenset({2}), retry_after=1.5)]
    first, second, third = (ask(model, "?") for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [200, 429, 200]
    assert second.headers["retry-after"] == "1.5"
    assert second.json()["error"]["message"].startswith("3040: ")


def test_fault_by_attempt(model: ScriptedModel) -> None:
    model.faults = [Fault(3021, attempts=1)]
    assert [ask(model, text).status_code for text in ("a", "b", "a", "b")] == [429, 429, 200, 200]


def test_fault_rate_repeats(model: ScriptedModel) -> None:
    outcomes = []
    for order in (range(60), reversed(range(60))):
        model.reset()
        model.faults = [Fault(3040, rate=0.3, seed=1)]
        outcomes.append({number: ask(model, f"prompt {number}").status_code for number in order})
    assert outcomes[0] == outcomes[1]
    assert 5 < list(outcomes[0].values()).count(429) < 35


def test_fault_times(model: ScriptedModel) -> None:
    model.faults = [Fault("empty", times=2)]
    model.rules = [fixed("full")]
    assert [content(ask(model, "?")) for _ in range(3)] == ["", "", "full"]


def test_numeric_answer(model: ScriptedModel) -> None:
    model.faults = [Fault("numeric")]
    assert content(ask(model, "?")) == 42


def test_disconnect_breaks(model: ScriptedModel) -> None:
    model.faults = [Fault("disconnect")]
    with pytest.raises(httpx.TransportError):
        ask(model, "?")
    assert model.calls[0].outcome == "disconnect"


def test_hang_until_release(model: ScriptedModel) -> None:
    model.faults = [Fault("hang")]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, model, "?")
        model.wait_for_calls(1)
        assert model.calls[0].outcome == "pending"
        model.release()
        assert isinstance(call.exception(timeout=10), httpx.TransportError)
    assert model.calls[0].outcome == "hang"


def test_capacity_refuses(model: ScriptedModel) -> None:
    model.capacity, model.latency = 2, 0.3
    with ThreadPoolExecutor(5) as pool:
        statuses = sorted(response.status_code for response in pool.map(lambda _: ask(model, "?"), range(5)))
    assert statuses.count(429) == 3
    assert statuses.count(200) == 2


def test_rate_refuses(model: ScriptedModel) -> None:
    model.rate = Rate(calls=2, seconds=600)
    asked: list[dict[str, object]] = [{"model": name, "messages": []} for name in ("one", "one", "one", "other")]
    responses = [CLIENT.post(f"{model.url}/chat/completions", json=body) for body in asked]
    assert [response.status_code for response in responses] == [200, 200, 429, 200]
    assert responses[2].json()["error"]["message"] == "3021: rate limiting: inference request per min rate reached"


@pytest.mark.parametrize(("window", "taken"), [("sliding", [True, True, False]), ("fixed", [True, True, True])])
def test_window_of_a_rate(window: Window, taken: list[bool]) -> None:
    """Two calls at the end of one minute, and one at the beginning of the next."""
    counter = RateCounter(Rate(calls=2, seconds=60, window=window))
    assert [counter.takes("model", now) for now in (59.0, 59.5, 60.0)] == taken


def test_rate_by_control(model: ScriptedModel) -> None:
    control = model.url.replace("/v1", "/control")
    assert httpx.post(control, json={"rate": {"calls": 1, "seconds": 60, "window": "fixed"}}).status_code == 200
    assert model.rate == Rate(1, 60, "fixed")
    assert httpx.post(control, json={"rate": {"calls": 0}}).status_code == 422
    assert httpx.post(control, json={"rate": None}).status_code == 200
    assert model.rate is None


def through_binding(model: ScriptedModel, *, reject_if_busy: bool) -> int:
    options = {"x-ai-options": json.dumps({"rejectIfBusy": reject_if_busy})}
    body = {"model": "any", "messages": [{"role": "user", "content": "?"}]}
    return httpx.post(f"{model.url}/chat/completions", json=body, headers=options, timeout=30).status_code


def statuses_of(model: ScriptedModel, *, reject_if_busy: bool) -> list[int]:
    with ThreadPoolExecutor(5) as pool:
        return sorted(pool.map(lambda _: through_binding(model, reject_if_busy=reject_if_busy), range(5)))


def test_busy_model_queues(model: ScriptedModel) -> None:
    model.capacity, model.latency = 2, 0.2
    assert statuses_of(model, reject_if_busy=False) == [200] * 5
    assert model.peak == 2
    assert model.in_flight == 0


def test_busy_model_rejects(model: ScriptedModel) -> None:
    model.capacity, model.latency = 2, 0.5
    assert statuses_of(model, reject_if_busy=True) == [200, 200, 429, 429, 429]
    assert {entry.outcome for entry in model.calls} == {"ok", "error 3040"}


def test_queue_times_out(model: ScriptedModel) -> None:
    model.capacity, model.latency, model.queue_seconds = 1, 1.0, 0.1
    assert statuses_of(model, reject_if_busy=False) == [200, 408, 408, 408, 408]
    assert {entry.outcome for entry in model.calls} == {"ok", "error 3046"}
    assert model.in_flight == 0


def test_null_answer(model: ScriptedModel) -> None:
    model.faults = [Fault("null")]
    answer = ask(model, "?").json()
    assert answer["choices"][0]["message"]["content"] is None
    assert answer["usage"]["prompt_tokens"] > 0


def test_fault_says_otherwise(model: ScriptedModel) -> None:
    model.faults = [Fault(2021, times=1), Fault(2021, says="no credits")]
    first, second = (ask(model, "?").json()["error"]["message"] for _ in range(2))
    assert first.startswith("2021: Wholesale rate limit exceeded")
    assert second == "2021: no credits"


def test_window_refuses(model: ScriptedModel) -> None:
    model.window = 100
    assert ask(model, "a" * 200, max_tokens=10).status_code == 200
    assert ask(model, "a" * 200, max_tokens=90).json()["error"]["message"].startswith("3010: AiError: The estimated")


def test_only_answers_are_charged(model: ScriptedModel) -> None:
    model.faults = [Fault(3040, calls=frozenset({1}))]
    ask(model, "?")
    ask(model, "?")
    assert [entry.outcome for entry in model.calls] == ["error 3040", "ok"]
    assert len(model.answered) == 1


def test_stream_ends_with_usage(model: ScriptedModel) -> None:
    model.rules = [fixed("several words of text")]
    lines = [line.removeprefix("data: ") for line in ask(model, "?", stream=True).text.splitlines() if line]
    pieces = [json.loads(line) for line in lines[:-1]]
    said = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces if piece["choices"])
    assert said == "several words of text"
    assert pieces[-1]["usage"]["total_tokens"] > 0
    assert lines[-1] == "[DONE]"


def control(model: ScriptedModel, path: str = "") -> str:
    return f"{model.url.removesuffix('/v1')}/control{path}"


def test_control_sets_script(model: ScriptedModel) -> None:
    script = {"rules": [{"kind": "fixed", "content": "set"}], "faults": [{"fails": 3040, "calls": [2]}]}
    assert httpx.post(control(model), json=script).status_code == 200
    assert [ask(model, "?").status_code for _ in range(2)] == [200, 429]


def test_control_shows_calls(model: ScriptedModel) -> None:
    ask(model, "first")
    ask(model, "second")
    shown = httpx.get(control(model, "/calls"), params={"since": 1, "text": 1}).json()
    assert shown["total"] == 2
    assert shown["calls"][0]["messages"] == [{"role": "user", "content": "second"}]


def test_control_resets(model: ScriptedModel) -> None:
    ask(model, "?")
    httpx.delete(control(model, "/calls"))
    assert httpx.get(control(model)).json()["calls"] == 0


@pytest.mark.parametrize(
    "script",
    [
        {"rules": [{"kind": "unknown"}]},
        {"rules": [{"kind": "needle", "pattern": "("}]},
        {"faults": [{"fails": "unknown"}]},
        {"faults": [{"fails": 3040, "calls": 1}]},
        {"faults": [{"fails": 3040, "unknown": 1}]},
    ],
)
def test_control_refuses_nonsense(model: ScriptedModel, script: dict[str, object]) -> None:
    assert httpx.post(control(model), json=script).status_code == 422
