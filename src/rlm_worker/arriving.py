"""Text that arrives in pieces of any length and leaves from the front."""

from __future__ import annotations


class ArrivingText:
    """A queue of characters: appending and taking cost what the text costs, however small the pieces are."""

    def __init__(self) -> None:
        self.length = 0
        self._held = ""
        self._position = 0  # of the first character in `_held` that has not been taken
        self._arrived: list[str] = []

    def append(self, text: str) -> None:
        if text:
            self._arrived.append(text)
            self.length += len(text)

    def peek(self, count: int) -> str:
        """The first `count` characters, or all there are."""
        end = self._position + count
        if end > len(self._held) and self._arrived:
            left = self._held[self._position :]
            # One long text that arrives whole is not copied: join gives back the only item of a list.
            self._held = "".join([left, *self._arrived] if left else self._arrived)
            self._arrived.clear()
            self._position, end = 0, count
        return self._held[self._position : end]

    def drop(self, count: int) -> None:
        """Removes the first `count` characters, which have been seen."""
        self._position += count
        self.length -= count
        if self._position == len(self._held):
            self._held, self._position = "", 0
