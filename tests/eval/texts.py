"""Prose of any length that says nothing about what is asked: seeded, so that a case is the same everywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence

PEOPLE = ["Mira", "Tomas", "Adela", "Joris", "Priya", "Henk", "Lucia", "Oskar", "Noor", "Pavel", "Ines", "Bram"]
PLACES = ["Varel", "Oldcastle", "Brackwater", "Lindhaven", "Ostrey", "Kilmore", "Redfern", "Sandvik", "Torby", "Welham"]
_THINGS = ["ledger", "lantern", "ladder", "kettle", "blanket", "basket", "bench", "cart", "barrel", "rope", "saddle"]
_FILLER = [
    "{person} carried a {thing} across the yard before breakfast.",
    "The road to {place} was muddy, and nobody hurried.",
    "After lunch {person} and {other} repaired a {thing} in the shed.",
    "A merchant from {place} asked for the price of a {thing}.",
    "{person} wrote a long letter to a cousin in {place}.",
    "It rained until the evening, so the {thing} stayed under the roof.",
    "{person} said that the {thing} had belonged to {other}.",
    "In {place} the bakers complained about the flour again.",
    "{other} borrowed a {thing} and brought it back the next day.",
    "Two children from {place} watched {person} paint a {thing}.",
    "The inn was quiet, and {person} read by the fire.",
    "{person} counted sheep on the hill above {place} and lost track.",
]


def sentence(chance: random.Random) -> str:
    """One sentence of filler."""
    person, other = chance.sample(PEOPLE, 2)
    form = chance.choice(_FILLER)
    return form.format(person=person, other=other, place=chance.choice(PLACES), thing=chance.choice(_THINGS))


def around(planted: Sequence[str], characters: int, chance: random.Random) -> str:
    """A text of about so many characters that holds the planted sentences, in their order, at random places."""
    filler: list[str] = []
    left = characters - sum(map(len, planted))
    while left > 0:
        filler.append(sentence(chance))
        left -= len(filler[-1]) + 1
    places = sorted(chance.randrange(len(filler) + 1) for _ in planted)
    for place, one in reversed(list(zip(places, planted, strict=True))):
        filler.insert(place, one)
    return "\n".join(" ".join(filler[start : start + 4]) for start in range(0, len(filler), 4))
