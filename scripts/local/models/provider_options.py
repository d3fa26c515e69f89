"""`--provider NAME[:TYPE]=URL`: a provider beside the AI binding, with the key that the environment has for it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

_FORM = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]*)(?::(?P<type>anthropic|openai))?=(?P<url>https?://\S+)")


def provider_variables(options: Iterable[str]) -> dict[str, str]:
    """The vars and secrets that the options stand for; ValueError where one has another form.

    The key of `openrouter` is `OPENROUTER_API_KEY`, taken from the environment; where it is not set none is sent.
    """
    providers: dict[str, dict[str, str]] = {}
    secrets: dict[str, str] = {}
    for option in options:
        found = _FORM.fullmatch(option)
        if found is None:
            raise ValueError(f"NAME=URL or NAME:TYPE=URL is the form (types: anthropic, openai), not {option!r}")
        name, secret = found["name"], f"{found['name'].upper().replace('-', '_')}_API_KEY"
        type_ = found["type"] or ("anthropic" if name == "anthropic" else "openai")
        providers[name] = {"type": type_, "url": found["url"]}
        if key := os.environ.get(secret):
            providers[name]["key"], secrets[secret] = secret, key
    return {"PROVIDERS": json.dumps(providers), **secrets} if providers else {}
