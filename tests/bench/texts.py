"""Texts to measure with: English-like, of any length, no two parts alike."""

from __future__ import annotations

import random
from collections.abc import Iterator

MEGABYTE = 1_000_000
_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "have",
    "or",
    "by",
    "one",
    "had",
    "not",
    "but",
    "what",
    "all",
    "were",
    "when",
    "we",
    "there",
    "can",
    "an",
    "your",
    "which",
    "their",
    "said",
    "if",
    "do",
    "will",
    "each",
    "about",
    "how",
    "up",
    "out",
    "them",
    "then",
    "she",
    "many",
    "some",
    "so",
    "these",
    "would",
    "other",
    "into",
    "has",
    "more",
    "her",
    "two",
    "like",
    "him",
    "see",
    "time",
    "could",
    "no",
    "make",
    "than",
    "first",
    "been",
    "its",
    "who",
    "now",
    "people",
    "my",
    "made",
    "over",
    "river",
    "stone",
    "harbour",
    "lantern",
    "winter",
    "orchard",
    "engine",
    "letter",
    "market",
    "window",
    "captain",
    "garden",
    "signal",
    "ledger",
    "copper",
    "summit",
]


def unique_text(characters: int, seed: int = 1) -> str:
    """Sentences in paragraphs, `characters` ASCII characters long; another seed gives another text."""
    return "".join(_blocks(characters, seed))


def unique_blocks(characters: int, seed: int = 1) -> Iterator[bytes]:
    """The same text in pieces, so that 100 MB need not be held."""
    return (block.encode() for block in _blocks(characters, seed))


def _blocks(characters: int, seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    sentences = [_sentence(chance) for _ in range(4000)]
    left, number = characters, 0
    while left > 0:
        number += 1
        # The number makes the paragraph, and with it every chunk, unlike all others.
        block = f"Entry {seed}-{number}. {' '.join(chance.choices(sentences, k=40))}\n\n"[:left]
        left -= len(block)
        yield block


def _sentence(chance: random.Random) -> str:
    words = chance.choices(_WORDS, k=chance.randrange(6, 22))
    return " ".join(words).capitalize() + "."
