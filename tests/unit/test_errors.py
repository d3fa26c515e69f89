"""Errors cross borders and stay what they were."""

from __future__ import annotations

import pytest

from rlm_worker.errors import (
    BindingMissing,
    Cancelled,
    Conflict,
    FieldProblem,
    InputTooLarge,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    RetryableError,
    RLMError,
    StorageUnavailable,
    UsageLimitExceeded,
)
from rlm_worker.wire.results import ErrorBody


@pytest.mark.parametrize(
    "error",
    [
        RLMError("a defect"),
        NotFound("there is no such session"),
        Conflict("two of them"),
        Cancelled("the run was cancelled"),
        StorageUnavailable("gone"),
        PayloadTooLarge(5, "bytes", "send less"),
        RateLimited("too often", 7),
        UsageLimitExceeded("maxCostUsd", 1.0, 2.0),
        BindingMissing("RLM_LOADER", "strategy repl"),
        InvalidRequest([FieldProblem("config.x", "is unknown"), FieldProblem("query", "is missing")]),
        RetryableError("busy", 3040, 2.0),
        InputTooLarge("too long", 3006),
    ],
    ids=lambda error: type(error).__name__,
)
def test_class_crosses_wire(error: RLMError) -> None:
    body = ErrorBody.model_validate(ErrorBody.of(error).to_wire())
    again = body.to_error()
    assert (type(again), str(again), again.type, again.status) == (type(error), str(error), error.type, error.status)
    assert ErrorBody.of(again) == body


def test_unknown_type_survives() -> None:
    again = ErrorBody(type="of_tomorrow", message="what is this?").to_error()
    assert (type(again), again.type, again.status, str(again)) == (RLMError, "of_tomorrow", 500, "what is this?")
