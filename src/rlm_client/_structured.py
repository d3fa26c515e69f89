"""Answers as values of a type: its JSON Schema goes with the request, and the answer comes back as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import pydantic

from ._errors import RequestError
from ._models import RLMResult

ModelT = TypeVar("ModelT")


class ParsedResult(RLMResult, Generic[ModelT]):
    """A result whose answer is a value of the `response_model` that was asked for."""

    _parsed: ModelT = pydantic.PrivateAttr()

    @property
    def parsed(self) -> ModelT:
        """The answer as a value."""
        return self._parsed


def parsed_result(result: RLMResult, response_model: type[ModelT]) -> ParsedResult[ModelT]:
    """Return the result with its answer as a value; raises `AnswerInvalidError` where it is none."""
    value = result.parse_as(response_model)
    parsed = ParsedResult[ModelT].model_validate(result.to_json())
    parsed._parsed = value  # noqa: SLF001 - its own, which is nobody's to give
    return parsed


def schema_of(response_model: type[object]) -> Mapping[str, object]:
    """Return the JSON Schema of a pydantic class, or of anything that pydantic understands: dataclasses, `list[int]`.

    Raises `RequestError` for what it does not.
    """
    try:
        return pydantic.TypeAdapter(response_model).json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise RequestError(f"{response_model!r} has no JSON Schema: {error.message}") from None
