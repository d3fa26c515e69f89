"""How many tokens a text costs a model: a guess per script, corrected by the usage the model reports."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

# Weights are whole numbers of 1/32 token, one per byte of UTF-8. A character's whole weight sits on its first byte.
_UNIT = 32
_SLICE = 1 << 13  # characters encoded at a time, so that weighing 100 MB needs no second copy of it
# zlib.adler32 adds up bytes at memory speed, modulo 65521. A block this long stays below, so the sum is exact: 512
# bytes of at most 127, or 2,047 of ASCII, whose characters weigh at most 32.
_BLOCK, _ASCII_BLOCK = 512, 2047
_MIN_FACTOR, _MAX_FACTOR = 0.25, 4.0
_CONFIDENT = 1000  # tokens; what shorter prompts report says as much about the chat template as about the text
_DESCENT = 0.25  # share of the way down per report: falling slowly and rising at once keeps estimates on the safe side
_LATIN_TOKENS_PER_CHARACTER = 0.25
# What a chat template adds to each message.
TOKENS_PER_MESSAGE = 16
# A reservation must not be passed by the bill: estimates of text that no model has counted yet get this much room.
RESERVE_MARGIN = 1.3

# Measured on Llama 3's and cl100k's vocabularies with prose, code, logs and interface texts in 26 languages; where the
# two differ the weight lies between them, towards the larger one.
_WEIGHTS: tuple[tuple[int, int, int], ...] = (
    (0x00, 0x20, 32),  # control characters
    (0x09, 0x0E, 12),  # tab and line ends
    (0x20, 0x21, 2),
    (0x21, 0x7F, 20),  # punctuation
    (0x30, 0x3A, 18),  # digits
    (0x41, 0x5B, 18),  # capitals
    (0x61, 0x7B, 8),
    (0x7F, 0x80, 32),
    (0x80, 0xC2, 0),  # continuation bytes
    (0xC2, 0xCA, 32),  # accented Latin
    (0xCA, 0xCE, 44),  # phonetic signs and combining marks
    (0xCE, 0xD0, 20),  # Greek
    (0xD0, 0xD2, 15),  # Cyrillic
    (0xD2, 0xD4, 26),
    (0xD4, 0xD7, 58),  # Armenian
    (0xD7, 0xD8, 34),  # Hebrew
    (0xD8, 0xDC, 20),  # Arabic
    (0xDC, 0xE0, 50),
    (0xE0, 0xE1, 44),  # India's scripts, Thai
    (0xE1, 0xE2, 60),  # Georgian, Khmer, Vietnamese
    (0xE2, 0xE3, 36),  # typographic signs, arrows, mathematics
    (0xE3, 0xE4, 30),  # kana
    (0xE4, 0xEA, 36),  # Han
    (0xEA, 0xEE, 30),  # Hangul
    (0xEE, 0xEF, 96),  # private use
    (0xEF, 0xF0, 38),
    (0xF0, 0x100, 96),  # emoji, rare Han
)


def _weight_table() -> bytes:
    table = bytearray(256)
    for first, end, weight in _WEIGHTS:
        table[first:end] = bytes([weight]) * (end - first)
    return bytes(table)


_TABLE = _weight_table()
_MAX_WEIGHT, _MAX_ASCII_WEIGHT = max(_TABLE), max(_TABLE[:0x80])
# Most of a text in Latin letters.
_LIGHT = bytes([*range(0x61, 0x7B), 0x20])
_MAX_LIGHT_WEIGHT = max(_TABLE[byte] for byte in _LIGHT)


def weigh(text: str) -> int:
    """Weight of `text` in 1/32 of a token of an average model: a sum over its characters, whatever model reads it."""
    return sum(weight for encoded in _encoded_slices(text) for weight in _block_weights(encoded))


def weighed_prefix(text: str, weight: int) -> int:
    """Count of leading characters of `text` that weigh `weight` at most."""
    if len(text) * _MAX_WEIGHT <= weight or (text.isascii() and _bound(text) <= weight):
        return len(text)
    characters = 0
    for encoded in _encoded_slices(text):
        whole, length = 0, _block_length(encoded)
        for block in _block_weights(encoded):
            if block > weight:
                end = _prefix_in_block(encoded[: whole + length], whole, weight)
                return characters + len(encoded[:end].decode(errors="ignore"))
            weight -= block
            whole += length
        characters += len(encoded.decode())
    return characters


def _bound(text: str) -> int:
    """No less than ASCII text weighs, in one pass at memory speed: mostly it answers what is asked."""
    others = len(text.encode().translate(None, _LIGHT))
    return (len(text) - others) * _MAX_LIGHT_WEIGHT + others * _MAX_ASCII_WEIGHT


def _encoded_slices(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), _SLICE):
        yield text[start : start + _SLICE].encode()


def _block_length(encoded: bytes) -> int:
    return _ASCII_BLOCK if encoded.isascii() else _BLOCK


def _block_weights(encoded: bytes) -> list[int]:
    weights = encoded.translate(_TABLE)
    length = _block_length(encoded)
    return [(zlib.adler32(weights[at : at + length]) & 0xFFFF) - 1 for at in range(0, len(weights), length)]


def _prefix_in_block(encoded: bytes, start: int, weight: int) -> int:
    """The byte after which no more fits; continuation bytes weigh nothing, so it is the next character's first byte."""
    for at, byte in enumerate(encoded[start:].translate(_TABLE), start):
        if byte > weight:
            return at
        weight -= byte
    return len(encoded)


def byte_length(text: str) -> int:
    """Bytes of UTF-8: no vocabulary makes more tokens of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class TokenEstimator:
    """Estimates the tokens of texts for one model, and learns from what that model reports.

    A text's estimate is the sum of its characters' weights (see `weigh`) times one learned factor, so it grows with
    every character, and estimates of parts add up to the whole's but for rounding. Before the first report the factor
    is 1, which is right within a fifth for prose and code and short by up to half for base64 and random keys.
    """

    __slots__ = ("_factor",)

    def __init__(self, factor: float = 1.0) -> None:
        self._factor = _bounded(factor)

    @property
    def factor(self) -> float:
        """Tokens reported per token of the average model; worth storing when a run is to be resumed."""
        return self._factor

    def estimate(self, text: str) -> int:
        """Tokens of `text`, rounded up."""
        return math.ceil(weigh(text) * self._factor / _UNIT)

    def observe(self, sent: str | int, reported_tokens: int) -> None:
        """Learn from a call: `sent` is the whole prompt or its `weigh`, `reported_tokens` the model's input tokens."""
        weight = weigh(sent) if isinstance(sent, str) else sent
        if weight <= 0 or reported_tokens <= 0:
            return
        ratio = reported_tokens * _UNIT / weight
        step = 1.0 if ratio > self._factor else _DESCENT
        confidence = min(1.0, weight / _UNIT / _CONFIDENT)
        self._factor = _bounded(self._factor + (ratio - self._factor) * step * confidence)

    def weight_within(self, token_budget: int) -> int:
        """The largest weight whose estimate stays within `token_budget`."""
        return max(0, math.floor(token_budget * _UNIT / self._factor))

    def characters_within(self, token_budget: int, sample: str) -> int:
        """How many characters like those of `sample` fit into `token_budget`; without a sample, Latin letters."""
        density = weigh(sample) / len(sample) / _UNIT if sample else _LATIN_TOKENS_PER_CHARACTER
        return max(0, math.floor(token_budget / (density * self._factor)))


def _bounded(factor: float) -> float:
    return min(max(factor, _MIN_FACTOR), _MAX_FACTOR)
