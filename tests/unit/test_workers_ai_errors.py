"""What the platform says of a failed call becomes the error that it means."""

from __future__ import annotations

import pytest

from rlm_worker.adapters.workers_ai_errors import TABLE, as_model_error, told_error
from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, SchemaRefused, TerminalError

BUSY = ["3040: Capacity temporarily exceeded, please try again.", "3040: No more data centers to forward to"]
RATE = [
    "3021: Rate limit exceeded",
    "2021: Wholesale rate limit exceeded for this gateway. Please reduce request rate or use BYOK.",
    "7003: Wholesale rate limit exceeded for this gateway. Please reduce request rate or use BYOK.",
    "2018: Wholesale Rate limited",
    "2003: Rate limited",
    "429: Too Many Requests",
    "Too Many Requests",
]
SLOW = ["3046: Request timeout"]
TIMED_OUT = ["3007: Request timeout", "2014: Provider request timeout", "408: Request Timeout"]
ABORTED = ["3008: Request was aborted"]
PASSING = ["3043: Internal server error", "1031: cannot be reached", "error code: 1031", "the connection broke"]
TOO_LARGE = [
    "3006: Request is too large",
    "5021: The estimated number of tokens (8810) exceeded this model context window limit (8192)",
    "3010: AiError: The estimated number of tokens (35000) exceeded this model context window limit (24000)",
    "5006: Requested token count exceeds the model's maximum context length of 128000 tokens",
]
NOT_MET = ["5024: JSON Mode couldn't be met", "5024: JSON Model couldn't be met", "JSON Mode couldn't be met"]
NO_JSON = ["5025: This model doesn't support JSON Schema", "This model doesn't support JSON Mode"]
REFUSED = {
    "3036: You have used up your daily free allocation of 10,000 neurons. Please upgrade": "00:00 UTC",
    "4006: you have used up your daily free allocation of 10,000 neurons, please upgrade": "00:00 UTC",
    "InferenceUpstreamError: you have used up your daily free allocation of 10,000 neurons": "00:00 UTC",
    "5035: Model is not available on the Workers Free plan": "Workers Paid plan",
    "2021: This model is not available via unified billing. Please use BYOK.": "provider's own key",
    "2021: no credits available": "no credits left",
    "402: Insufficient Balance": "no credits left",
    "2021: Invalid User Credentials": "Invalid User Credentials",
    "429: spend limit reached": "spend limit",
    "7003: model not found": "model not found",
    "2016: Prompt blocked due to security configurations": "blocked the prompt",
    "424: Prompt blocked due to security configurations": "blocked the prompt",
    "5007: No such model @cf/gone/model or task": "No such model",
    "3042: The model name is invalid": "model name",
    "5004: Invalid data type for base64 input: string": "Invalid data",
    "3003: Request is missing headers or body: messages": "missing",
    "InferenceUpstreamError [AiError]: 3010: \nInvalid or incomplete input for the model": "incomplete input",
    "5016: User has not agreed to Llama3.2 model terms": "agree",
    "5018: The account is not allowed to access this model": "may not use",
    "3041: The account is not allowed to access this model": "may not use",
    "3023: Service unavailable for account": "switched off",
    "10000: Authentication error": "Authentication error",
    "9999: something that nobody knows yet": "nobody knows",
}
FORMS = ["{}", "AiError: {}", "InferenceUpstreamError: {}", "Error: {}\n    at run (workerd:1:2)"]


def all_rows() -> list[str]:
    return [*BUSY, *RATE, *SLOW, *TIMED_OUT, *ABORTED, *PASSING, *TOO_LARGE, *NOT_MET, *NO_JSON, *REFUSED]


def passing(message: str) -> RetryableError:
    error = as_model_error(message)
    assert isinstance(error, RetryableError)
    return error


@pytest.mark.parametrize(
    ("messages", "capacity", "fallback", "work"),
    [
        (BUSY, True, True, "none"),
        (RATE, True, False, "none"),
        (SLOW, True, True, "unfinished"),
        (TIMED_OUT, False, True, "unfinished"),
        (ABORTED, False, False, "unfinished"),
        (PASSING, False, False, "read"),
    ],
    ids=["busy", "rate", "slow", "timed-out", "aborted", "passing"],
)
def test_passing_errors(messages: list[str], capacity: bool, fallback: bool, work: str) -> None:
    for error in map(passing, messages):
        assert (error.capacity, error.fallback, error.work) == (capacity, fallback, work), error


@pytest.mark.parametrize(
    ("messages", "kind", "work"),
    [
        (TOO_LARGE, InputTooLarge, "none"),
        (NOT_MET, SchemaRefused, "unfinished"),
        (NO_JSON, SchemaRefused, "none"),
        (list(REFUSED), TerminalError, "none"),
        (["2017: Response blocked due to security configurations"], TerminalError, "unfinished"),
        (["424: Response blocked due to security configurations"], TerminalError, "unfinished"),
    ],
    ids=["too-large", "not-met", "no-json", "refused", "withheld", "withheld-by-status"],
)
def test_lasting_errors(messages: list[str], kind: type[ModelError], work: str) -> None:
    for error in map(as_model_error, messages):
        assert (type(error), error.work) == (kind, work), error


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_say_why(message: str) -> None:
    assert REFUSED[message] in str(as_model_error(message))


@pytest.mark.parametrize("form", FORMS)
def test_form_changes_nothing(form: str) -> None:
    for message in all_rows():
        plain, formed = as_model_error(message), as_model_error(form.format(message))
        assert (type(formed), formed.code, str(formed)) == (type(plain), plain.code, str(plain))


def test_every_row_is_met() -> None:
    met = set()
    for message in [*all_rows(), "2017: Response blocked", "424: Response blocked", "capacity exceeded", "timed out"]:
        code = as_model_error(message).code
        met.add(next(index for index, row in enumerate(TABLE) if row.fits(code, message)))
    assert met == set(range(len(TABLE)))


def test_retry_after_is_read() -> None:
    assert passing("3040: Capacity temporarily exceeded; retry after 7s").retry_after == 7
    assert passing("3040: Capacity temporarily exceeded").retry_after == 0


@pytest.mark.parametrize("number", ["127.0.0.1:8080: refused", "at 12:3456: gone", "took 3040 ms"])
def test_other_numbers_are_none(number: str) -> None:
    assert as_model_error(f"the server said {number}").code == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"response": "blue"}, ""),
        ({"response": "blue", "errors": []}, ""),
        ({"error": None, "choices": []}, ""),
        ({"error": "3040: Capacity"}, "3040: Capacity"),
        ({"error": {"message": "JSON Mode couldn't be met"}}, "JSON Mode couldn't be met"),
        ({"error": {"message": "Capacity", "code": 3040}}, "3040: Capacity"),
        ({"error": {"message": "AiError: 3040: Capacity", "code": 429}}, "AiError: 3040: Capacity"),
        ({"errors": [{"message": "Request timeout", "code": 3046}], "success": False}, "3046: Request timeout"),
    ],
)
def test_error_within_an_answer(answer: dict[str, object], message: str) -> None:
    assert told_error(answer) == message


@pytest.mark.parametrize("message", ["", "\n", "3040:", "AiError: "])
def test_wordless_errors(message: str) -> None:
    assert isinstance(as_model_error(message), RetryableError)
