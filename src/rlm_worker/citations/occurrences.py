"""Where each of many phrases stands in a text: one pass for all of them, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

# So few phrases are sought one by one, each at the speed of `str.find`.
_FEW = 24
# A phrase is sought by its grams of one of these lengths: so many, one behind the other, that the text is looked at in
# steps of that many characters only.
_GRAMS = ((12, 8), (6, 4), (3, 1))
# A phrase whose grams stand in so many places without it is sought as a whole.
_MAX_TRIES = 256
# Places that are told of one phrase: more than anybody quotes the same words.
MAX_OCCURRENCES = 1_000


def occurrences(phrases: Iterable[str], text: str) -> Mapping[str, list[int]]:
    """The places of each phrase that stands in the text, ascending; those of equal phrases may overlap."""
    sought = {phrase for phrase in phrases if phrase}
    if len(sought) <= _FEW:
        return _kept((phrase, _found(phrase, text)) for phrase in sought)
    return _kept(found for size, some in _by_size(sought).items() for found in _scan(some, text, *size))


def _by_size(phrases: Iterable[str]) -> Mapping[tuple[int, int], list[str]]:
    """Phrases by the length and the number of their grams; (0, 0) where they are too short for any."""
    sized: dict[tuple[int, int], list[str]] = {}
    for phrase in phrases:
        size = next(((length, step) for length, step in _GRAMS if len(phrase) >= length + step - 1), (0, 0))
        sized.setdefault(size, []).append(phrase)
    return sized


def _kept(found: Iterable[tuple[str, list[int]]]) -> Mapping[str, list[int]]:
    return {phrase: starts for phrase, starts in found if starts}


def _found(phrase: str, text: str) -> list[int]:
    starts: list[int] = []
    at = text.find(phrase)
    while at >= 0 and len(starts) < MAX_OCCURRENCES:
        starts.append(at)
        at = text.find(phrase, at + 1)
    return starts


def _scan(phrases: Sequence[str], text: str, length: int, step: int) -> Iterator[tuple[str, list[int]]]:
    """Each phrase and its places; the text is read once for all of them."""
    found: dict[str, list[int]] = {phrase: [] for phrase in phrases}
    tries = dict.fromkeys(phrases, _MAX_TRIES)
    grams = _grams(phrases, length, step) if len(phrases) > _FEW else {}
    for at in range(0, len(text) - length + 1, step) if grams else ():
        for phrase, offset in grams.get(text[at : at + length], ()):
            if tries[phrase] > 0:
                if at >= offset and text.startswith(phrase, at - offset):
                    found[phrase].append(at - offset)
                else:
                    tries[phrase] -= 1
    for phrase in phrases:
        thorough = not grams or tries[phrase] <= 0 or len(found[phrase]) > MAX_OCCURRENCES
        yield phrase, _found(phrase, text) if thorough else found[phrase]


def _grams(phrases: Iterable[str], length: int, step: int) -> Mapping[str, list[tuple[str, int]]]:
    """The grams in the middle of each phrase, with the phrases that they belong to and where they stand in them."""
    grams: dict[str, list[tuple[str, int]]] = {}
    for phrase in phrases if length else ():
        first = (len(phrase) - length - step + 1) // 2
        for offset in range(first, first + step):
            grams.setdefault(phrase[offset : offset + length], []).append((phrase, offset))
    return grams
