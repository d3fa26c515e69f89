"""Documents with facts planted in them, and a model's part that finds and tells some of them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.worker.texts import NOISE

PLACES = (
    *("Tromsø", "Bergen", "Oslo", "Bodø", "Ålesund", "Molde", "Narvik", "Alta", "Hamar", "Skien", "Moss", "Larvik"),
    *("Vadsø", "Kirkenes", "Florø", "Førde", "Voss", "Odda", "Leknes", "Svolvær"),
)
QUESTION = "Which access codes do the depots have?"
FACT = re.compile(r"The access code of the \w+ depot\s+is \d+\.")


@dataclass(frozen=True, slots=True)
class Planted:
    """A fact, and where it stands: its document, and the characters there."""

    place: str
    code: str
    document: int
    start: int
    text: str

    @property
    def span(self) -> tuple[int, int, int]:
        return self.document, self.start, self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Library:
    """Documents by name, what was planted in them, and what only looks like it."""

    documents: Sequence[tuple[str, str]]
    facts: Sequence[Planted]
    decoys: Sequence[str]

    def context(self) -> list[dict[str, str]]:
        return [{"name": name, "text": text} for name, text in self.documents]


def library(documents: int = 40, characters: int = 2_000_000, seed: int = 5) -> Library:
    """Some facts in each few documents, broken over lines in some, beside sentences that share their names or codes."""
    chance = random.Random(seed)
    texts: list[tuple[str, str]] = []
    facts: list[Planted] = []
    decoys: list[str] = []
    for number in range(documents):
        sentences = [f"{number}-{at}. {NOISE} 草は緑です。" for at in range(characters // documents // 95)]
        if number % 2 == 0:
            place, code = PLACES[number // 2 % len(PLACES)], str(chance.randrange(10_000, 99_999))
            fact = f"The access code of the {place} depot{chance.choice((' ', chr(10), '  '))}is {code}."
            decoy = f"Invoice {code} for {place} was painted red by nobody."
            _plant(sentences, chance, fact, decoy)
            text = " ".join(sentences)
            facts.append(Planted(place, code, number, text.index(fact), fact))
            decoys.append(decoy)
        texts.append((f"volume-{number:02}.txt", " ".join(sentences)))
    return Library(texts, facts, decoys)


def _plant(sentences: list[str], chance: random.Random, *planted: str) -> None:
    for sentence in planted:
        sentences.insert(chance.randrange(len(sentences)), sentence)


def notes_of(text: str) -> str:
    """What a reader quotes of a chunk: the facts in it and, as readers do, what only looks like them."""
    found = [*FACT.findall(text), *re.findall(r"Invoice \d+ for \w+ was painted red by nobody\.", text)]
    return "\n".join(" ".join(sentence.split()) for sentence in found) or "NONE"


def told(facts: Sequence[Planted]) -> str:
    """An answer that names facts in words of its own, in several forms."""
    lines = [f"- {fact.place}: {fact.code}" for fact in facts[::2]]
    rest = ", ".join(f"{fact.place} has {fact.code}" for fact in facts[1::2])
    return "\n".join(["These codes are known:", *lines, f"Besides, {rest}."])


def slices(library: Library, citations: Sequence[dict[str, object]]) -> Iterator[tuple[str, str]]:
    """What each citation says that it cites, and what stands there."""
    for citation in citations:
        index, start, end = (int(str(citation[n])) for n in ("documentIndex", "startCharIndex", "endCharIndex"))
        yield str(citation["citedText"]), library.documents[index][1][start:end]


def spans(citations: Sequence[dict[str, object]]) -> list[tuple[int, int, int]]:
    return sorted(
        (int(str(one["documentIndex"])), int(str(one["startCharIndex"])), int(str(one["endCharIndex"])))
        for one in citations
    )
