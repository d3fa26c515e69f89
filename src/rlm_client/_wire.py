"""The form that everything on the wire shares: camelCase outside, snake_case inside."""

from __future__ import annotations

from typing import TypeVar

import pydantic
from pydantic.alias_generators import to_camel

from rlm_client._errors import ProtocolError

WireT = TypeVar("WireT", bound="Wire")


class Wire(pydantic.BaseModel):
    """An immutable value from the Worker; fields it does not know yet are kept as they came."""

    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)

    def to_json(self) -> dict[str, object]:
        """Return the value as the Worker sent it: camelCase names, plain JSON types, nothing that it left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def parse(model: type[WireT], text: str | bytes) -> WireT:
    """Read one JSON object; raises `ProtocolError` when it is not what the contract promises."""
    try:
        return model.model_validate_json(text)
    except pydantic.ValidationError as error:
        # Inputs are left out: a context or an answer has no business in an error message.
        places = ", ".join(".".join(map(str, item["loc"])) or "body" for item in error.errors(include_input=False))
        raise ProtocolError(f"The Worker's answer is not a {model.__name__}: see {places}.") from None
