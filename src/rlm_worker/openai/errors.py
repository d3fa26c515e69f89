"""Errors as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rlm_worker.errors import InvalidRequest, RLMError
from rlm_worker.http import HttpResponse

from .models import UnknownModel
from .schemas import OpenAIError, OpenAIErrorBody

# OpenAI answers 400 where the rest of this Worker says that a field could not be understood.
_UNPROCESSABLE, _BAD_REQUEST = 422, 400
_OUR_SCHEMA, _THEIR_SCHEMA = "responseSchema", "response_format.json_schema.schema"
_CODES = {"unauthenticated": "invalid_api_key"}
_TYPE_OF_STATUS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def named_as_sent(error: InvalidRequest, schema: str = _THEIR_SCHEMA) -> InvalidRequest:
    """The same with the paths of a chat completion, or of another form that has its schema at that path."""
    return InvalidRequest(
        [
            replace(problem, path=problem.path.replace(_OUR_SCHEMA, schema, 1))
            if problem.path.startswith(_OUR_SCHEMA)
            else problem
            for problem in error.problems
        ]
    )


def openai_error(error: RLMError, status: int) -> OpenAIError:
    """The body of an error."""
    param = error.problems[0].path or None if isinstance(error, InvalidRequest) else None
    code = _CODES.get(error.type, error.type)
    if isinstance(error, UnknownModel):
        param, code = "model", "model_not_found"
    kind = _TYPE_OF_STATUS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return OpenAIError(error=OpenAIErrorBody(message=str(error), type=kind, param=param, code=code))


def openai_error_response(error: RLMError, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """An error of a route under /v1, with the status and headers that it has elsewhere."""
    status = _BAD_REQUEST if status == _UNPROCESSABLE else status
    return HttpResponse.of_json_text(status, openai_error(error, status).model_dump_json(), headers)
