"""A language model that answers by rule and fails on order: an OpenAI-compatible server with a log that tests can read.

In a test:

    with ScriptedModel() as model:      # model.url is what `scripts/dev --ai URL` takes
        model.rules = [counter("apple")]
        model.faults = [Fault(3040, calls=frozenset({1}), retry_after=1)]
        …
        assert len(model.calls) == 2

Over HTTP the same: GET and POST /control, GET and DELETE /control/calls.
"""

from __future__ import annotations

from aiohttp import web

from scripts.local.scripted.http import scripted_app
from scripts.local.scripted.serving import ServedScript


class ScriptedModel(ServedScript):
    """A script that speaks OpenAI's chat completions."""

    def app(self) -> web.Application:
        return scripted_app(self)

    def base_path(self) -> str:
        return "/v1"
