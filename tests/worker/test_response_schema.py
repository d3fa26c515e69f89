"""Foreign schemas in the real workerd: refused by their path or held to, at no risk for the host."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.unit.test_json_schema import REFUSED, REPORT, Report, doubled
from tests.worker.test_repl import CONTEXT, cell, plays

pytestmark = pytest.mark.worker
HEADERS = {"content-type": "application/json"}


def sent(http: httpx.Client, schema: object, **config: object) -> httpx.Response:
    config = {"strategy": "repl", "useCache": False, **config}
    body = {"context": CONTEXT, "query": "q", "config": config, "responseSchema": schema}
    return http.post("/rlm", content=json.dumps(body).replace("Infinity", "1e999"), headers=HEADERS)


@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"not a number", "deep nesting"}))
def test_schema_is_refused(http: httpx.Client, scripted: ScriptedModel, worker: DevProcess, name: str) -> None:
    schema, path = REFUSED[name]
    before = worker.workerd_pid
    answer = sent(http, schema)
    assert answer.status_code == 422, answer.text[:300]
    assert answer.json()["error"]["detail"][0]["path"].startswith(path)
    assert worker.workerd_pid == before
    assert not scripted.calls


HARMLESS: dict[str, dict[str, Any]] = {
    "content": {"contentMediaType": "application/json", "contentEncoding": "base64"},
    "huge enum": {"enum": [*(f"value {n}" for n in range(1_900)), "[[1]]"]},
    "some doubling": doubled(8, type="string"),
    "pattern": {"pattern": r"^(?!x)\[+\d\]+$"},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_schema_is_held_to(http: httpx.Client, scripted: ScriptedModel, name: str) -> None:
    scripted.rules = plays(cell("FINAL('[[1]]')"))
    answer = sent(http, HARMLESS[name])
    assert json.loads(answer.json()["answer"]) in ("[[1]]", [[1]])


def test_models_of_pydantic_work(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(
        cell("FINAL({'title': 'only'})"), cell(f"import json\nFINAL(json.loads({json.dumps(REPORT)!r}))")
    )
    answer = sent(http, Report.model_json_schema())
    assert json.loads(answer.json()["answer"]) == REPORT
    assert "data must contain" in scripted.calls[-1].call.user


def test_deepest_value_is_checked(http: httpx.Client, scripted: ScriptedModel) -> None:
    """A value that doubles the work with each of its levels is turned down, one that does not is taken."""
    two = {f"a{n}": {"properties": {"x": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2}}} for n in range(40)}
    deep = "v = 1\nfor _ in range(45): v = {'x': v}\nFINAL(v)"
    scripted.rules = plays(cell(deep), cell("FINAL({'x': 1})"))
    answer = sent(http, {"$defs": {**two, "a40": {}}, "$ref": "#/$defs/a0"})
    assert json.loads(answer.json()["answer"]) == {"x": 1}
    assert "too large or too deep" in scripted.calls[-1].call.user
    scripted.rules = plays(cell(deep))
    answer = sent(http, {"type": ["object", "integer"], "anyOf": [{"properties": {"x": {"$ref": "#"}}}]})
    assert answer.json()["answer"].count("x") == 45
