"""What a cell prints, kept at its head and at its tail."""

from __future__ import annotations

import io


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
        self._tail.append(text[-self._tail_room :] if self._tail_room else "")
        self._tail_length += len(text)
        if self._tail_length > 2 * self._tail_room or len(self._tail) > 1_000:
            self._shrink()

    def _shrink(self) -> None:
        joined = "".join(self._tail)
        kept = joined[-self._tail_room :] if self._tail_room else ""
        self._cut += self._tail_length - len(kept)
        self._tail, self._tail_length = [kept], len(kept)

    def getvalue(self) -> str:
        """Everything, or head and tail with a mark between that says how much was cut."""
        self._shrink()
        mark = f"\n… [{self._cut:,} characters cut] …\n" if self._cut else ""
        return "".join(self._head) + mark + "".join(self._tail)
