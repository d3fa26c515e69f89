"""What every JSON that crosses is built on: camelCase outside, snake_case inside."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Wire(BaseModel):
    """Strict, closed and camelCase on the wire; Python names are understood too."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True, allow_inf_nan=False
    )


class Answer(BaseModel):
    """Something the Worker says: camelCase, and open to fields of later versions."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")
