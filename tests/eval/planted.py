"""Seeded contexts with known truth: facts planted in real prose, and real code with what its authors say of it."""

from __future__ import annotations

import ast
import json
import pydoc_data.topics
import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Each a fact, a question that has its words, and one that shares none with it, stop words aside.
_FACTS = Path(__file__).with_name("facts.json")
# Several of a kind, for a question that needs them all; `{}` is a name.
MANY = ("The warehouse clerk {} reported a broken pallet.", "Which warehouse clerks reported a broken pallet?")
_NAMES = ("Aldo", "Bea", "Chidi", "Dara", "Esma", "Farid", "Greta", "Hugo")
_MODULES_LEFT_OUT = {"pydoc_data", "test", "idlelib", "lib2to3", "site-packages", "__pycache__", "turtledemo"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the characters of the context (the end exclusive) that answer it: each is needed."""

    text: str
    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PlantedSet:
    """A context and what is asked about it."""

    name: str
    context: str
    questions: tuple[Question, ...]


def planted_sets(seed: int, characters: int) -> list[PlantedSet]:
    """The same for the same seed and Python: a needle, one in other words, many, and code."""
    prose, facts = _prose(random.Random(seed), characters), planted_facts()
    placed = _placed(prose, [fact["fact"] for fact in facts], random.Random(seed + 1))
    plain = tuple(Question(fact["question"], (placed.places[fact["fact"]],)) for fact in facts)
    other = tuple(Question(fact["otherWords"], (placed.places[fact["fact"]],)) for fact in facts)
    several = _placed(prose, [MANY[0].format(name) for name in _NAMES], random.Random(seed + 2))
    many = Question(MANY[1], tuple(several.places.values()))
    return [
        PlantedSet("needle", placed.text, plain),
        PlantedSet("other words", placed.text, other),
        PlantedSet("many", several.text, (many,)),
        code_set(seed, characters),
    ]


def planted_facts() -> list[dict[str, str]]:
    """Facts, each with a `question` in its words and one in `otherWords`."""
    found: list[dict[str, str]] = json.loads(_FACTS.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True, slots=True)
class _Placed:
    text: str
    places: dict[str, tuple[int, int]]


def _placed(prose: str, facts: Sequence[str], chance: random.Random) -> _Placed:
    """The facts at ends of paragraphs, far from each other."""
    ends = [at for at in range(len(prose)) if prose.startswith("\n\n", at)]
    step = len(ends) // len(facts)
    at = [ends[number * step + chance.randrange(step)] for number in range(len(facts))]
    order = chance.sample(list(facts), len(facts))
    parts: list[str] = []
    places: dict[str, tuple[int, int]] = {}
    last, length = 0, 0
    for place, fact in zip(at, order, strict=True):
        before = f"{prose[last:place]}\n\n"
        places[fact] = (length + len(before), length + len(before) + len(fact))
        parts += [before, fact]
        last, length = place, places[fact][1]
    return _Placed("".join([*parts, prose[last:]]), places)


def _prose(chance: random.Random, characters: int) -> str:
    """English prose about Python: the topics of its built-in help, in a seeded order."""
    topics = sorted(pydoc_data.topics.topics.values())
    return "\n\n".join(chance.sample(topics, len(topics)))[:characters]


def code_set(seed: int, characters: int, questions: int = 40) -> PlantedSet:
    """Modules of the standard library without their docstrings; a function's docstring asks for the function."""
    chance = random.Random(seed)
    paths = _modules()
    text, found = "", list[Question]()
    for path in chance.sample(paths, len(paths)):
        if len(text) >= characters:
            break
        source = path.read_text(encoding="utf-8")
        stripped, functions = _without_docstrings(source)
        found += [Question(said, ((len(text) + start, len(text) + end),)) for said, start, end in functions]
        text += f"{stripped}\n\n"
    return PlantedSet("code", text, tuple(chance.sample(found, min(questions, len(found)))))


def _modules() -> list[Path]:
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in folder.rglob("*.py") if not _MODULES_LEFT_OUT & set(path.parts)]
    return sorted(path for path in paths if 4_000 < path.stat().st_size < 60_000)


def _without_docstrings(source: str) -> tuple[str, list[tuple[str, int, int]]]:
    """The source with every docstring cut out; of each telling one its first sentence, and where its function is."""
    lines = source.splitlines(keepends=True)
    removed: set[int] = set()
    spoken: list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        said = ast.get_docstring(node)
        if said is None:
            continue
        removed |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        if not isinstance(node, ast.Module | ast.ClassDef) and _is_telling(said):
            spoken.append((said.split("\n\n")[0].replace("\n", " "), node))
    starts, length = {}, 0
    for number, line in enumerate(lines, 1):
        starts[number] = length
        length += 0 if number in removed else len(line)
    stripped = "".join(line for number, line in enumerate(lines, 1) if number not in removed)
    return stripped, [
        (said, starts[node.lineno], starts.get((node.end_lineno or 0) + 1, length)) for said, node in spoken
    ]


def _is_telling(said: str) -> bool:
    first = said.split("\n\n", maxsplit=1)[0]
    return 40 <= len(first) <= 300 and "->" not in first


def chunks_of(context: str, characters: int) -> Iterator[tuple[int, str]]:
    """Index and text of chunks of that size."""
    for index, start in enumerate(range(0, len(context), characters)):
        yield index, context[start : start + characters]
