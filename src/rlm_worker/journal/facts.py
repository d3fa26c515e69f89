"""Small named values of a session, and texts too long for a row: both in parts that a row takes."""

from __future__ import annotations

from collections.abc import Callable

from rlm_worker.ports import MAX_TEXT_CHARACTERS, Cell

SCHEMA = ("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",)


class Facts:
    """Values by name; a name has no dot followed by a number that is not a part's."""

    def __init__(self, read: Callable[..., list[tuple[Cell, ...]]], write: Callable[..., None]) -> None:
        self._read = read
        self._write = write

    def get(self, name: str) -> str | None:
        parts = self._read("SELECT value FROM facts WHERE name >= ? AND name < ? ORDER BY name", *_parts_of(name))
        return "".join(str(value) for (value,) in parts) if parts else None

    def set(self, name: str, value: str) -> None:
        """Writes a value down; what is there already is not written again."""
        known = self._read("SELECT name, value FROM facts WHERE name >= ? AND name < ? ORDER BY name", *_parts_of(name))
        parts = {_part(name, number): text for number, text in enumerate(_cut(value))}
        for part, text in parts.items():
            if (part, text) not in known:
                self._write(
                    "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    *(part, text),
                )
        if len(known) > len(parts):
            self._write("DELETE FROM facts WHERE name >= ? AND name < ?", _part(name, len(parts)), _parts_of(name)[1])

    def forget(self, beginning: str) -> None:
        """Deletes every value whose name begins so."""
        self._write("DELETE FROM facts WHERE name >= ? AND name < ?", beginning, beginning + chr(0x10FFFF))

    def fitting(self, name: str, text: str) -> str:
        """What a row keeps of a text: all of it, or nothing where it is kept under that name instead."""
        if len(text) <= MAX_TEXT_CHARACTERS // 2:  # a row may hold two
            return text
        self.set(name, text)
        return ""


def _cut(value: str) -> list[str]:
    starts = range(0, max(1, len(value)), MAX_TEXT_CHARACTERS)
    return [value[start : start + MAX_TEXT_CHARACTERS] for start in starts]


def _part(name: str, number: int) -> str:
    return f"{name}.{number:06}"


def _parts_of(name: str) -> tuple[str, str]:
    """Between which names the parts lie: the second is no part any more."""
    return f"{name}.", f"{name}/"
