"""What can go wrong locally, each with what to do about it."""

from __future__ import annotations


class LocalError(Exception):
    """Something local failed; `hint` says what to do, `output` holds the last lines of what was run."""

    def __init__(self, message: str, *, hint: str = "", output: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.output = output

    def report(self) -> str:
        """The text for a terminal."""
        lines = [f"error: {self.message}"]
        lines += [f"  | {line}" for line in self.output.strip().splitlines()[-15:]]
        if self.hint:
            lines.append(f"what to do: {self.hint}")
        return "\n".join(lines)
