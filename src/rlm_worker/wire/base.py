"""What every JSON that crosses is built on: camelCase outside, snake_case inside."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Written(BaseModel):
    def to_json(self) -> str:
        """The JSON of the wire; fields that do not apply are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    def to_wire(self) -> dict[str, object]:
        """The same as an object, for what stands inside of another JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Wire(_Written):
    """Strict, closed and camelCase on the wire; Python names are understood too."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True, allow_inf_nan=False
    )


class Answer(_Written):
    """Something the Worker says: camelCase, and open to fields of later versions."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")


def timestamp(seconds: float) -> str:
    """A time in seconds since the epoch as the wire has it: RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
