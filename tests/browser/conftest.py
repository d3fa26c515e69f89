"""The scripted model behind the deployments that pages call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.local.scripted.model import ScriptedModel


@pytest.fixture(scope="module")
def scripted_server() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model
