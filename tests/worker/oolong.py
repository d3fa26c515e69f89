"""OOLONG-like contexts: lines whose class nobody has written down, questions about them, and their truth.

The question bank is our own, labelled by construction. A scripted reader shows that the harness loses nothing on the
way; no claim about a model's wit follows from it.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import combinations

from scripts.local.scripted.calls import ChatCall

BANK = {
    "A": "What does the abbreviation {} stand for in engineering notes?",
    "E": "What instrument is played most often by the band {} these days?",
    "H": "Who was the first person to cross the river at {} alone?",
    "N": "How many bridges were counted by the surveyors of {}?",
    "L": "Where can visitors find the old harbour named {}?",
    "D": "What is meant by the expression {} among sailors?",
}
MARKS = {
    "A": "abbreviation",
    "E": "instrument",
    "H": "Who was",
    "N": "How many",
    "L": "Where can",
    "D": "is meant by",
}
LABELS = {
    "A": "abbreviation",
    "E": "entity",
    "H": "human being",
    "N": "numeric value",
    "L": "location",
    "D": "description",
}
SCHEMA: Mapping[str, object] = {
    "tables": [
        {
            "name": "lines",
            "description": "one row for each line",
            "columns": [
                {"name": "user", "type": "integer", "required": True},
                {"name": "day", "type": "date", "required": True},
                {
                    "name": "kind",
                    "type": "enum",
                    "enum": [*LABELS.values()],
                    "description": "the kind of answer that the question asks for",
                    "required": True,
                },
            ],
        }
    ]
}
PLAN = {"extract": "every line with its user, its day and the kind of answer that its question asks for", **SCHEMA}
_LINE = re.compile(r"^(?:(\d+): )?(Date: (\w{3} \d\d, \d{4}) \|\| User: (\d+) \|\| Instance: .+)$", re.MULTILINE)
_DATA = re.compile(r"^<<<<<< .*^[0-9a-f]{16} >>>>>>$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the context; its label is hidden."""

    day: date
    user: int
    label: str
    text: str

    def __str__(self) -> str:
        return f"Date: {self.day:%b %d, %Y} || User: {self.user} || Instance: {self.text}\n"


Entries = list[Entry]
Fits = Callable[[Entries, Entries], bool]


def entries(seed: int, characters: int = 1_000_000, users: int = 3_600) -> Entries:
    """Lines of so many characters at least, by so many users at most."""
    drawn, found, size = random.Random(seed), [], 0
    known = [drawn.randrange(10_000, 99_999) for _ in range(users)]
    while size < characters:
        label = drawn.choice("AEHNLD")
        text = BANK[label].format(f"{drawn.choice('BDGKLMPRST')}{drawn.randrange(10**6)}")
        found.append(Entry(date(2023, 1, 1) + timedelta(days=drawn.randrange(180)), drawn.choice(known), label, text))
        size += len(str(found[-1]))
    return found


def text_of(of: Iterable[Entry]) -> str:
    return "".join(map(str, of))


def counts(of: Entries, label: str) -> int:
    return sum(entry.label == label for entry in of)


def pairs_that_fit(of: Entries, fits: Fits, chosen: int) -> set[tuple[int, int]]:
    """The pairs among the users with the smallest ids."""
    by_user: defaultdict[int, Entries] = defaultdict(list)
    for entry in of:
        by_user[entry.user].append(entry)
    some = sorted(by_user)[:chosen]
    return {(a, b) for a, b in combinations(some, 2) if fits(by_user[a], by_user[b])}


def either_way(one: Callable[[Entries], bool], other: Callable[[Entries], bool]) -> Fits:
    return lambda a, b: (one(a) and other(b)) or (one(b) and other(a))


# Questions with the two statements that answer them.


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context, the SQL that answers it from rows that are right, and the truth."""

    text: str
    pick: str
    compute: str
    truth: Callable[[Entries], list[list[object]]]

    @property
    def query(self) -> dict[str, str]:
        return {"pick": self.pick, "compute": self.compute}


CHOSEN = 60
_ALL = "SELECT row_id FROM lines"
_SOME = f"{_ALL} WHERE user IN (SELECT DISTINCT user FROM lines ORDER BY user LIMIT {CHOSEN})"
_SUMS = ", ".join(f"sum(kind = '{label}') AS n_{letter}" for letter, label in LABELS.items())


def _pairs(condition: str, extra: str = "") -> str:
    """Pairs of users by what their lines count to; `condition` is about p and q."""
    return (
        f"WITH u AS (SELECT user, {_SUMS}{extra} FROM picked GROUP BY user) "
        f"SELECT a.user, b.user FROM u AS a JOIN u AS b ON a.user < b.user WHERE {condition} ORDER BY a.user, b.user"
    )


def _either(one: str, other: str) -> str:
    """Whether one user satisfies the one and the other the other; `@` stands for the user."""
    a, b = (one.replace("@", "a"), other.replace("@", "b")), (one.replace("@", "b"), other.replace("@", "a"))
    return f"({a[0]} AND {a[1]}) OR ({b[0]} AND {b[1]})"


def _listed(pairs: Collection[tuple[int, int]]) -> list[list[object]]:
    return [[*pair] for pair in sorted(pairs)]


def _ranked(of: Entries, place: int) -> list[list[object]]:
    ranking = sorted(Counter(entry.label for entry in of).items(), key=lambda item: (-item[1], LABELS[item[0]]))
    return [[LABELS[ranking[place][0]], ranking[place][1]]]


def _most(place: int) -> str:
    return f"SELECT kind, count(*) AS n FROM picked GROUP BY kind ORDER BY n DESC, kind LIMIT 1 OFFSET {place}"


COUNTING: Mapping[str, Question] = {
    "count": Question(
        "How many lines ask for a location?",
        f"{_ALL} WHERE kind = 'location'",
        "SELECT count(*) AS n FROM picked",
        lambda of: [[counts(of, "L")]],
    ),
    "most": Question("Which kind is the most frequent?", _ALL, _most(0), lambda of: _ranked(of, 0)),
    "second": Question("Which kind is the second most frequent?", _ALL, _most(1), lambda of: _ranked(of, 1)),
    "least": Question("Which kind is the least frequent?", _ALL, _most(5), lambda of: _ranked(of, 5)),
    "range": Question(
        "How many lines of April 2023 ask for a human being?",
        f"{_ALL} WHERE kind = 'human being' AND day BETWEEN '2023-04-01' AND '2023-04-30'",
        "SELECT count(*) AS n FROM picked",
        lambda of: [[sum(entry.label == "H" and entry.day.month == 4 for entry in of)]],
    ),
    "users": Question(
        "How many users ask for a numeric value more than twice?",
        f"{_ALL} WHERE kind = 'numeric value'",
        "SELECT count(*) AS n FROM (SELECT user FROM picked GROUP BY user HAVING count(*) > 2)",
        lambda of: [[sum(n > 2 for n in Counter(entry.user for entry in of if entry.label == "N").values())]],
    ),
}
PAIRS: Mapping[str, Question] = {
    "4": Question(
        "Which pairs of users both have a line with H or L, and all of their lines with H after January 6, 2023?",
        _SOME,
        _pairs(
            _either("@.n_H + @.n_L > 0 AND @.early = 0", "@.n_H + @.n_L > 0 AND @.early = 0"),
            ", sum(kind = 'human being' AND day <= '2023-01-06') AS early",
        ),
        lambda of: _listed(pairs_that_fit(of, lambda a, b: _late_h(a) and _late_h(b), CHOSEN)),
    ),
    "12": Question(
        "Which pairs of users have two lines with N in the one, and lines with L and with H in the other?",
        _SOME,
        _pairs(_either("@.n_N >= 2", "@.n_L > 0 AND @.n_H > 0")),
        lambda of: _listed(
            pairs_that_fit(
                of,
                either_way(lambda a: counts(a, "N") >= 2, lambda b: counts(b, "L") > 0 and counts(b, "H") > 0),
                CHOSEN,
            )
        ),
    ),
    "16": Question(
        "Which pairs of users have lines with D and with H in the one, and two with E and one with A in the other?",
        _SOME,
        _pairs(_either("@.n_D > 0 AND @.n_H > 0", "@.n_E >= 2 AND @.n_A = 1")),
        lambda of: _listed(
            pairs_that_fit(
                of,
                either_way(
                    lambda a: counts(a, "D") > 0 and counts(a, "H") > 0,
                    lambda b: counts(b, "E") >= 2 and counts(b, "A") == 1,
                ),
                CHOSEN,
            )
        ),
    ),
}


def _late_h(mine: Entries) -> bool:
    early = any(entry.label == "H" and entry.day <= date(2023, 1, 6) for entry in mine)
    return not early and counts(mine, "H") + counts(mine, "L") > 0


# A reader that labels right, or wrong in a share of the lines that nothing but their words decides.


def label_read(text: str, wrong: float) -> str:
    """The label that a reader gives to a line's text: another than the right one in a share of all texts."""
    right = next(label for label, mark in MARKS.items() if mark in text)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    others = [label for label in LABELS if label != right]
    return others[number % len(others)] if number / 2**64 < wrong else right


def as_read(of: Iterable[Entry], wrong: float) -> Entries:
    """The entries with the labels that such a reader gives."""
    return [replace(entry, label=label_read(entry.text, wrong)) for entry in of]


@dataclass(frozen=True, slots=True)
class TableModel:
    """A rule for the scripted model: plays root and reader of the strategy `table` for one question."""

    question: Question
    wrong: float = 0.0

    def __call__(self, call: ChatCall) -> str | None:
        system = call.system
        if '"extract"' in system:
            return json.dumps(PLAN)
        if '"pick"' in system:
            return json.dumps(self.question.query)
        if "numbered records" in system:
            return "\n".join(self._lines(call.user)) or "NONE"
        if "write down rows" in system:
            return json.dumps({"rows": [*self._rows(call.user)]})
        return None

    def _read(self, user: str) -> Iterable[tuple[str, str, dict[str, str]]]:
        data = _DATA.search(user)
        for found in _LINE.finditer(data[0] if data else ""):
            label = LABELS[label_read(found[2].partition(" || Instance: ")[2], self.wrong)]
            yield found[1], found[2], {"user": found[4], "day": found[3], "kind": label}

    def _rows(self, user: str) -> Iterable[dict[str, str]]:
        return ({"quote": line, **values} for _, line, values in self._read(user))

    def _lines(self, user: str) -> Iterable[str]:
        return (f"{number} | {' | '.join(values.values())}" for number, _, values in self._read(user))


def f1(found: Collection[Sequence[object]], expected: Collection[Sequence[object]]) -> float:
    """The score of a list of pairs, as OOLONG-Pairs has it."""
    one, other = {tuple(pair) for pair in found}, {tuple(pair) for pair in expected}
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0
