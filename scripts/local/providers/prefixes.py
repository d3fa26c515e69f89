"""What a provider's prefix cache holds: prompts that were read before, as long as they begin alike."""

from __future__ import annotations

import hashlib

_BLOCK_TOKENS = 128
_MIN_TOKENS = 1_024
_BYTES_PER_TOKEN = 4


class MarkedPrefixes:
    """Anthropic's: a prompt is kept up to each mark in it, and found again where all before the mark is the same."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def read(self, model: str, marks: list[tuple[str, int]]) -> tuple[int, int]:
        """Tokens read from the cache and tokens written to it; `marks` are the texts up to each mark, with tokens."""
        usable = [(_digest(model, text), tokens) for text, tokens in marks if tokens >= _MIN_TOKENS]
        found = max((tokens for digest, tokens in usable if digest in self._kept), default=0)
        longest = max((tokens for _, tokens in usable), default=0)
        self._kept |= {digest for digest, _ in usable}
        return found, max(0, longest - found)


class SharedPrefixes:
    """OpenAI's: any prompt is kept in blocks of 128 tokens, from 1,024 on."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def read(self, model: str, prompt: str) -> int:
        """Tokens read from the cache."""
        content, size = prompt.encode("utf-8", "surrogatepass"), _BLOCK_TOKENS * _BYTES_PER_TOKEN
        found, digest = 0, hashlib.sha256(model.encode())
        for number, start in enumerate(range(0, len(content) - size + 1, size), start=1):
            digest.update(content[start : start + size])
            key = digest.hexdigest()
            if key in self._kept and found == (number - 1) * _BLOCK_TOKENS:
                found = number * _BLOCK_TOKENS
            self._kept.add(key)
        return found if found >= _MIN_TOKENS else 0


def _digest(model: str, text: str) -> str:
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
