"""Texts that are lists of records, in the manner of OOLONG, with their truth; and a scripted model that reads them.

Each line has a date, a user and a sentence whose kind a reader has to judge: nothing in it names the kind.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from zlib import crc32

from scripts.local.scripted.calls import ChatCall

KINDS: Mapping[str, tuple[str, ...]] = {
    "place": ("Where does the {} river end?", "Which town lies north of {}?", "In which country is {} spoken?"),
    "person": ("Who wrote the song {}?", "Whose idea was the {} project?", "Who was first to climb {}?"),
    "number": ("How many legs has a {}?", "What does a {} weigh?", "How far is it to {}?"),
    "meaning": ("What is a {} good for?", "Why do people say {}?", "What is meant by {}?"),
}
NOUNS = (
    *("Aral", "Basil", "Cobalt", "Dorade", "Ember", "Fennel", "Garnet", "Hazel"),
    *("Indigo", "Jasper", "Kestrel", "Lupine", "Marl", "Nimbus", "Ochre"),
)
SCHEMA = {
    "tables": [
        {
            "name": "questions",
            "description": "each line is a question that a user has asked on a day",
            "columns": [
                {"name": "day", "type": "date", "required": True},
                {"name": "user", "type": "integer", "required": True},
                {"name": "kind", "type": "enum", "enum": list(KINDS), "required": True},
            ],
        }
    ]
}
_LINE = re.compile(r"^Date: (\d{4}-\d\d-\d\d) \|\| User: (\d+) \|\| Instance: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Record:
    """A line of the text and what is true of it."""

    day: str
    user: int
    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"Date: {self.day} || User: {self.user} || Instance: {self.sentence}"


def records(count: int, seed: int = 0, users: int = 40) -> list[Record]:
    rng = random.Random(seed)
    return [_record(rng, users) for _ in range(count)]


def _record(rng: random.Random, users: int) -> Record:
    kind = rng.choices(list(KINDS), (5, 4, 2, 3))[0]
    sentence = rng.choice(KINDS[kind]).format(f"{rng.choice(NOUNS)} {rng.choice(NOUNS).lower()}")
    day = f"{rng.choice((2022, 2023, 2024))}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return Record(day, rng.randint(1, users) * 7, kind, sentence)


def text_of(lines: Sequence[Record], characters: int = 0) -> str:
    """The lines as a text, as many of them as fit so many characters, or all."""
    text = "".join(f"{line}\n" for line in lines)
    return text[: text.rfind("\n", 0, characters) + 1] if 0 < characters < len(text) else text


def within(characters: int, seed: int = 0, users: int = 40) -> list[Record]:
    """As many records as fit so many characters."""
    found = records(characters // 50, seed, users)
    size = 0
    for number, record in enumerate(found):
        size += len(str(record)) + 1
        if size > characters:
            return found[:number]
    return found


def counted(lines: Sequence[Record], kind: str) -> int:
    return sum(line.kind == kind for line in lines)


def pairs(lines: Sequence[Record], one: str, other: str) -> int:
    """Pairs of users who both have asked at least one question of each kind, as OOLONG-Pairs counts."""
    asked: dict[int, set[str]] = {}
    for line in lines:
        asked.setdefault(line.user, set()).add(line.kind)
    able = [user for user, kinds in asked.items() if {one, other} <= kinds]
    return len(list(combinations(able, 2)))


def kind_of(sentence: str, wrong: float = 0.0) -> str:
    """What a reader makes of a sentence: wrong in that share of cases, always in the same ones."""
    kinds = list(KINDS)
    right = next(kind for kind in kinds if any(_like(form, sentence) for form in KINDS[kind]))
    if crc32(sentence.encode()) % 1_000 >= wrong * 1_000:
        return right
    return kinds[(kinds.index(right) + 1) % len(kinds)]


def _like(form: str, sentence: str) -> bool:
    head, tail = form.split("{}")
    return sentence.startswith(head) and sentence.endswith(tail)


@dataclass(slots=True)
class Script:
    """The scripted model's part: rows as it reads them, and the root's words; `mended` once its query has failed."""

    query: Mapping[str, str] = field(default_factory=dict)
    mended: Mapping[str, str] | None = None
    wrong: float = 0.0
    plan: Mapping[str, object] = field(default_factory=lambda: {"extract": "every question", **SCHEMA})
    spoil: Callable[[str, str], str] = lambda _, reply: reply
    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, call: ChatCall) -> str | None:
        kind = kind_of_call(call)
        self.asked[kind] += 1
        if kind == "plan":
            return json.dumps(self.plan)
        if kind == "query":
            failed = self.mended is not None and "Reply again, mended" in call.user
            return json.dumps(self.mended if failed else self.query)
        if kind != "rows":
            return None
        rows = [self._row(line) for line in _LINE.finditer(call.user)]
        return self.spoil(call.user, json.dumps({"rows": rows}))

    def _row(self, line: re.Match[str]) -> dict[str, str]:
        return {"quote": line[0], "day": line[1], "user": line[2], "kind": kind_of(line[3], self.wrong)}


def kind_of_call(call: ChatCall) -> str:
    """What the strategy asks for."""
    openings = {
        "You prepare the answer": "plan",
        "You read one part of a longer text and write down rows": "rows",
        "You are given numbered records": "lines",
        "You write SQL": "query",
        "Answer the question in a sentence": "prose",
    }
    return next((kind for opening, kind in openings.items() if call.system.startswith(opening)), "other")


def counting(kind: str) -> dict[str, str]:
    return {
        "pick": f"SELECT row_id FROM questions WHERE kind = '{kind}'",
        "compute": "SELECT count(*) AS questions FROM picked",
    }


def pairing(one: str, other: str) -> dict[str, str]:
    users = f"SELECT user FROM picked GROUP BY user HAVING sum(kind = '{one}') > 0 AND sum(kind = '{other}') > 0"
    return {
        "pick": f"SELECT row_id FROM questions WHERE kind IN ('{one}', '{other}')",
        "compute": f"WITH able AS ({users}) SELECT count(*) AS pairs FROM able a JOIN able b ON a.user < b.user",
    }
