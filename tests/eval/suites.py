"""Questions whose answers are known, by suite and seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .texts import PEOPLE, PLACES, around

_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
# What stands in the text, and a question that shares no telling word with it; {} is the answer.
_OTHER_WORDS = [
    ("The vessel {} went down in the gale off the northern rocks.", "Which ship sank during the storm?", PLACES),
    ("Old {} baked the loaves for the whole village.", "Who made everybody's bread?", PEOPLE),
    ("By trade {} mended teeth.", "Who was the dentist?", PEOPLE),
    ("It was {} who took the coins from the till at night.", "Who stole the money?", PEOPLE),
    ("Their capital had been moved to {} by royal decree.", "Where did the seat of government go?", PLACES),
    ("The physician forbade {} any kind of wine.", "Whom did the doctor deny alcohol?", PEOPLE),
    ("{} came into the world on a snowy morning.", "Who was born in winter?", PEOPLE),
    ("Flames devoured the granary of {} in one hour.", "In which town did a fire destroy a barn?", PLACES),
    ("{} won the foot race by a nose.", "Which runner finished first?", PEOPLE),
    ("{} tied the knot with a glazier from the coast.", "Who got married?", PEOPLE),
]


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one text; `expected` are the words that a right reply holds, once for each time they count.

    With `count` the number of `expected` counts; without any `expected` the text does not hold the answer. `evidence`
    is what a perfect reader would quote, in the order of the text.
    """

    suite: str
    seed: int
    text: str
    question: str
    expected: tuple[str, ...] = ()
    answer: str = ""
    count: bool = False
    evidence: tuple[str, ...] = ()


def _needle(chance: random.Random, seed: int, characters: int) -> Case:
    place, *others = chance.sample(PLACES, 3)
    code = _code(chance)
    planted = [f"The access code of the depot in {other} is {_code(chance)}." for other in others]
    planted.insert(chance.randrange(3), f"The access code of the depot in {place} is {code}.")
    question = f"What is the access code of the depot in {place}?"
    return Case("needle", seed, around(planted, characters, chance), question, (code,), code, evidence=tuple(planted))


def _other_words(chance: random.Random, seed: int, characters: int) -> Case:
    said, question, answers = _OTHER_WORDS[seed % len(_OTHER_WORDS)]
    answer = chance.choice(answers)
    planted = said.format(answer)
    return Case(
        "other words",
        seed,
        around([planted], characters, chance),
        question,
        (planted[:-1],),
        answer,
        evidence=(planted,),
    )


def _listing(chance: random.Random, seed: int, characters: int) -> Case:
    """Some lines are alike in every letter, and stand for different events."""
    gate, other = chance.sample(["north", "south", "east", "west"], 2)
    hours = [chance.randrange(6, 9) for _ in range(chance.randrange(3, 7))]
    wanted = [f"At {hour} o'clock the {gate} gate was opened." for hour in hours]
    planted = [*wanted, *(f"At {chance.randrange(6, 9)} o'clock the {other} gate was opened." for _ in range(2))]
    chance.shuffle(planted)
    question = f"How many times was the {gate} gate opened?"
    expected = tuple(f"the {gate} gate was opened" for _ in wanted)
    return Case(
        "listing",
        seed,
        around(planted, characters, chance),
        question,
        expected,
        str(len(wanted)),
        True,
        tuple(one for one in planted if one in wanted),
    )


def _absent(chance: random.Random, seed: int, characters: int) -> Case:
    place, other = chance.sample(PLACES, 2)
    planted = [f"The depot in {other} was closed in {chance.choice(_MONTHS)}."] if seed % 2 else []
    question = f"What is the access code of the depot in {place}?"
    return Case("absent", seed, around(planted, characters, chance), question, evidence=tuple(planted))


def _contradiction(chance: random.Random, seed: int, characters: int) -> Case:
    place, first, later = chance.choice(PLACES), *chance.sample(_MONTHS, 2)
    days = chance.sample(range(2, 29), 2)
    planted = [
        f"The council first set the fair in {place} for {days[0]} {first}.",
        f"Later the council moved the fair in {place} to {days[1]} {later}.",
    ]
    question = f"On which date is the fair in {place}?"
    both = (f"{days[0]} {first}", f"{days[1]} {later}")
    return Case(
        "contradiction", seed, around(planted, characters, chance), question, both, both[1], evidence=tuple(planted)
    )


def _code(chance: random.Random) -> str:
    return f"{chance.choice('KLMRTX')}{chance.randrange(1000, 10_000)}"


SUITES: Mapping[str, Callable[[random.Random, int, int], Case]] = {
    "needle": _needle,
    "other words": _other_words,
    "listing": _listing,
    "absent": _absent,
    "contradiction": _contradiction,
}


def case(suite: str, seed: int, characters: int) -> Case:
    """The case of that suite and seed, its text of about so many characters."""
    return SUITES[suite](random.Random(f"{suite} {seed} {characters}"), seed, characters)
