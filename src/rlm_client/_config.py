"""How a run is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import pydantic
from pydantic.alias_generators import to_camel


class RLMConfig(pydantic.BaseModel):
    """The options of a run; what is left out, the deployment decides.

    `chunk_size`, `chunk_overlap` and `max_output_characters` (of a REPL cell) are in characters; `timeout_seconds` and
    `max_cost_usd` bound the whole run, `max_output_tokens` each model call, `cell_timeout_seconds` each REPL cell.
    A misspelt option is refused here, before anything is sent; the Worker checks the values.
    """

    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    strategy: Literal["auto", "direct", "map_reduce", "repl"] | None = None
    root_model: str | None = None
    sub_model: str | None = None
    max_iterations: int | None = None
    max_sub_calls: int | None = None
    max_depth: int | None = None
    chunk_size: int | None = None
    chunk_overlap: int | None = None
    use_cache: bool | None = None
    max_cost_usd: float | None = None
    timeout_seconds: float | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    cell_timeout_seconds: float | None = None
    max_output_characters: int | None = None


Config: TypeAlias = RLMConfig | Mapping[str, object]


def wire_config(config: Config | None) -> dict[str, object]:
    """Return the options as they travel; a plain mapping goes as it is, so that newer options can be used."""
    if isinstance(config, RLMConfig):
        return config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dict(config or {})
