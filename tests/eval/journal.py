"""What was asked and what came, one JSON object a line: an evaluation that is stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a measurement the one that it is; `characters` of the text, about."""

    task: str
    suite: str
    variant: str
    model: str
    seed: int
    characters: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One reply with its score, and the seconds that it took."""

    key: Key
    reply: str
    score: float
    seconds: float
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Results:
    """Measurements in a file; a last line that was cut off by a crash is measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = {measured.key: measured for measured in _read(path)}

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def __iter__(self) -> Iterator[Measured]:
        return iter(self._known.values())

    def add(self, measured: Measured) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(measured), ensure_ascii=False) + "\n")
        self._known[measured.key] = measured


def _read(path: Path) -> Iterator[Measured]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        yield Measured(**{**told, "key": Key(**told["key"])})
