"""What a cell prints, kept at its head and at its tail, and cut between lines where there are any."""

from __future__ import annotations

import io

# Of each half that is kept so much is given up, at most, to cut it between lines.
_GIVEN_UP = 2


class HeadTail(io.TextIOBase):
    """A stream that keeps `limit` characters: the first half as they come, and the last ones."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._head_room = limit - limit // 2
        self._tail_room = limit // 2
        self._head: list[str] = []
        self._tail: list[str] = []
        self._tail_length = 0
        self._cut = 0
        self._lines_cut = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        head = text[: self._head_room]
        if head:
            self._head.append(head)
            self._head_room -= len(head)
        self._keep(text[len(head) :])
        return len(text)

    def _keep(self, text: str) -> None:
        if not text:
            return
        kept = text[-self._tail_room :] if self._tail_room else ""
        self._cut += len(text) - len(kept)
        self._lines_cut += text.count("\n", 0, len(text) - len(kept))
        self._tail.append(kept)
        self._tail_length += len(kept)
        if self._tail_length > 2 * self._tail_room or len(self._tail) > 1_000:
            self._shrink()

    def _shrink(self) -> None:
        joined = "".join(self._tail)
        kept = joined[-self._tail_room :] if self._tail_room else ""
        self._cut += len(joined) - len(kept)
        self._lines_cut += joined.count("\n", 0, len(joined) - len(kept))
        self._tail, self._tail_length = [kept], len(kept)

    def getvalue(self) -> str:
        """Everything, or head and tail with a mark between that says how much was cut, and which lines."""
        self._shrink()
        head, tail = "".join(self._head), "".join(self._tail)
        if not self._cut:
            return head + tail
        return cut_between_lines(head, tail, self._cut, self._lines_cut)


def cut_between_lines(head: str, tail: str, characters: int, line_ends: int) -> str:
    """Head and tail of a text of which so many characters, with so many ends of lines in them, are left out between.

    Both are shortened to whole lines, where that takes no more than half of each.
    """
    first = head.rfind("\n") + 1
    first = first if first * _GIVEN_UP >= len(head) else len(head)
    last = tail.find("\n") + 1
    last = last if last * _GIVEN_UP <= len(tail) else 0
    line_ends += head.count("\n", first) + tail.count("\n", 0, last)
    characters += len(head) - first + last
    before = head.count("\n", 0, first)
    is_whole = head[:first].endswith("\n") and last > 0
    lines = f"lines {before + 1:,} to {before + line_ends:,}, " if is_whole else ""
    start = "" if head[:first].endswith("\n") else "\n"
    return f"{head[:first]}{start}… [{lines}{characters:,} characters cut] …\n{tail[last:]}"
