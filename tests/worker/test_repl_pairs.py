"""OOLONG-Pairs-like: which pairs of users fit, over a million characters whose labels nobody has written down.

The root model plays a transcript, probe, split, classify by sub-calls, aggregate, answer; the sub-model classifies by
the words that each class of the question bank has, as a real one would by understanding. What is shown is that the
harness loses nothing on the way. No claim about a model's wit follows from it.
"""

from __future__ import annotations

import json
from datetime import date

import httpx
import pytest

from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.model import ScriptedModel
from tests.worker.oolong import MARKS, Entries, Fits, counts, either_way, entries, pairs_that_fit, text_of
from tests.worker.test_repl import ROOT, cell

pytestmark = [pytest.mark.worker, pytest.mark.slow]

CHARACTERS = 1_000_000


def both_all_after(mine: Entries, labels: str, late: str, day: date) -> bool:
    return any(counts(mine, label) for label in labels) and all(e.day > day for e in mine if e.label == late)


# Number in the suite, what the transcript's code asks of each user's entries [(label, date)], and the truth beside it.
TASKS: dict[int, tuple[str, Fits]] = {
    4: (
        (
            "late = lambda u: all(d > '2023-01-06' for l, d in u if l == 'H')\n"
            "fits = lambda a, b: all(n(u, 'H') + n(u, 'L') and late(u) for u in (a, b))"
        ),
        lambda a, b: all(both_all_after(mine, "HL", "H", date(2023, 1, 6)) for mine in (a, b)),
    ),
    12: (
        "fits = lambda a, b: any(n(p, 'N') >= 2 and n(q, 'L') and n(q, 'H') for p, q in ((a, b), (b, a)))",
        either_way(lambda a: counts(a, "N") >= 2, lambda b: counts(b, "L") > 0 and counts(b, "H") > 0),
    ),
    16: (
        (
            "one = lambda u: n(u, 'D') and n(u, 'H')\n"
            "other = lambda u: n(u, 'E') >= 2 and n(u, 'A') == 1\n"
            "fits = lambda a, b: any(one(p) and other(q) for p, q in ((a, b), (b, a)))"
        ),
        either_way(
            lambda a: counts(a, "D") > 0 and counts(a, "H") > 0, lambda b: counts(b, "E") >= 2 and counts(b, "A") == 1
        ),
    ),
}

PROBE = "print(len(context), len(context.lines))\nprint(context[:400])"
CLASSIFY = """
lines = [line for line in context.lines if line.startswith("Date:")]
groups = [lines[at:at + 500] for at in range(0, len(lines), 500)]
slices = [context[group[0].start:group[-1].end] for group in groups]
answers = llm_query_batched("Give the class of each line: one letter a line, A E H N L D, nothing else.", slices)
labels = [letter for answer in answers for letter in answer.split()]
print(len(lines), len(labels), sum(a.startswith("ERROR") for a in answers))
"""
AGGREGATE = """
from collections import defaultdict
from datetime import datetime
from itertools import combinations
users = defaultdict(list)
for line, label in zip(lines, labels):
    when, user, _ = line.split(" || ")
    users[int(user[6:])].append((label, str(datetime.strptime(when[6:], "%b %d, %Y").date())))
n = lambda entries, label: sum(l == label for l, _ in entries)
some = sorted(users)[:CHOSEN]
print(len(users))
"""
ANSWER = """
pairs = [[a, b] for a, b in combinations(some, 2) if fits(users[a], users[b])]
print(len(pairs))
FINAL(pairs)
"""
# A list of all pairs would be longer than an answer may be: the question is about the users with the smallest ids.
CHOSEN = 60


def classify(call: ChatCall) -> str:
    lines = [line for line in call.user.splitlines() if line.startswith("Date:")]
    return "\n".join(next(label for label, mark in MARKS.items() if mark in line) for line in lines)


@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_exact(http: httpx.Client, scripted: ScriptedModel, task: int) -> None:
    code, fits = TASKS[task]
    data = entries(task, CHARACTERS)
    context = text_of(data)
    assert len(context) >= CHARACTERS
    lines = [PROBE, CLASSIFY, AGGREGATE.replace("CHOSEN", str(CHOSEN)), f"{code}\n{ANSWER}"]

    def answer(call: ChatCall) -> str:
        turn = sum(1 for role, _ in call.messages if role == "assistant")
        return cell(lines[turn]) if ROOT in call.model else classify(call)

    scripted.rules = [answer]
    body = {"context": context, "query": "Which pairs?", "config": {"strategy": "repl", "maxSubCalls": 40}}
    result = http.post("/rlm", json=body).json()
    assert result["success"], result
    found = {tuple(pair) for pair in json.loads(result["answer"])}
    expected = pairs_that_fit(data, fits, CHOSEN)
    assert found == expected
    assert 10 < len(expected) < CHOSEN * (CHOSEN - 1) / 2 - 10
    assert result["subCalls"] <= 40
    assert result["coverage"] > 0.999
    assert not result["truncated"]
