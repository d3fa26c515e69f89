"""`src/rlm_worker/models/prices.py` as text: a file that `scripts/models --write` writes and ruff leaves as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from rlm_worker.messages import ModelSpec, Prices

_HEAD = '''"""What is known of models: windows, prices, what they take; each dated, with its source.

`scripts/models --write` writes this file.

Prices in US dollars and neurons per million tokens; windows in tokens, prompt and answer together.
"""

from __future__ import annotations

from rlm_worker.messages import ModelSpec, Prices

CATALOG_DATE = "{date}"

MODELS = (
{models}
)
'''


def price_table(models: Iterable[ModelSpec]) -> str:
    """The module's text; `CATALOG_DATE` is the newest date of any figure in it."""
    listed = list(models)
    newest = max(model.dated for model in listed)
    return _HEAD.format(date=newest, models="\n".join(_entry(model) for model in listed))


def _entry(model: ModelSpec) -> str:
    lines = [
        f"        {field.name}={_value(getattr(model, field.name))},"
        for field in dataclasses.fields(model)
        if field.default is dataclasses.MISSING or getattr(model, field.name) != field.default
    ]
    return "\n".join(["    ModelSpec(", *lines, "    ),"])


def _value(value: object) -> str:
    if isinstance(value, tuple):
        inner = [_value(item) for item in value]
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
    if isinstance(value, Prices):
        figures = (value.input, value.output, value.cached, value.write, value.above)
        return f"Prices({', '.join(map(_number, figures))})"
    if isinstance(value, bool) or value is None:
        return repr(value)
    return _number(value) if isinstance(value, int | float) else f'"{value}"'


def _number(value: float) -> str:
    return f"{int(value):_}" if isinstance(value, int) and value >= 10_000 else repr(value)
