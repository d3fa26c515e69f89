"""A model at the other end of OpenAI's chat completions, over HTTP."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlm_worker.messages import Message

_TIMEOUT_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Said:
    """A reply and its tokens."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Chat(Protocol):
    """Whoever answers a prompt."""

    def ask(self, messages: Sequence[Message], max_tokens: int) -> Said: ...


@dataclass(frozen=True, slots=True)
class ChatServer:
    """A server of that shape; `key_env` names the variable that holds its key, where it wants one."""

    url: str
    model: str
    key_env: str = ""

    def ask(self, messages: Sequence[Message], max_tokens: int) -> Said:
        prompt = [{"role": message.role, "content": message.content} for message in messages]
        body = {"model": self.model, "messages": prompt, "temperature": 0, "max_tokens": max_tokens}
        headers = {"content-type": "application/json"}
        if self.key_env:
            headers["authorization"] = f"Bearer {os.environ[self.key_env]}"
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            told = json.load(response)
        usage = told.get("usage") or {}
        return Said(
            told["choices"][0]["message"].get("content") or "",
            usage.get("prompt_tokens", 0),
            usage.get("completion_tokens", 0),
            (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        )
