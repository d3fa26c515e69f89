"""Errors as Anthropic's clients expect them: `{"type": "error", "error": {"type", "message"}}`."""

from __future__ import annotations

from collections.abc import Mapping

from rlm_worker.errors import RLMError
from rlm_worker.http import HttpResponse

from .schemas import AnthropicError, AnthropicErrorBody

# Anthropic answers 400 where the rest of this Worker says that a field could not be understood.
_UNPROCESSABLE, _BAD_REQUEST = 422, 400
_TYPE_OF_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def anthropic_error(error: RLMError, status: int) -> AnthropicError:
    """The body of an error."""
    kind = _TYPE_OF_STATUS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return AnthropicError(error=AnthropicErrorBody(type=kind, message=str(error), code=error.type))


def anthropic_error_response(error: RLMError, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """An error of a route under /v1/messages, with the status and headers that it has elsewhere."""
    status = _BAD_REQUEST if status == _UNPROCESSABLE else status
    return HttpResponse.of_json_text(status, anthropic_error(error, status).model_dump_json(), headers)
