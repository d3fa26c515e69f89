"""Server-sent events, decoded as the bytes arrive.

The rules are those of the HTML standard, "9.2.6 Interpreting an event stream".
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; `id` is the last one that the stream named, also when this event named none."""

    event: str
    data: str
    id: str | None


@dataclass(slots=True)
class _Draft:
    """The fields seen since the last blank line."""

    event: str = ""
    data: list[str] = field(default_factory=list)


class SSEDecoder:
    """Turns bytes, cut anywhere, into events."""

    def __init__(self, last_event_id: str | None = None) -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._lines = _LineSplitter()
        self._draft = _Draft()

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that these bytes complete."""
        found = (self._take(line) for line in self._lines.feed(self._text.decode(data)))
        return [event for event in found if event is not None]

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        self._set(name, value.removeprefix(" "))
        return None

    def _set(self, name: str, value: str) -> None:
        if name == "data":
            self._draft.data.append(value)
        elif name == "event":
            self._draft.event = value
        elif name == "id" and "\0" not in value:
            self.last_event_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)

    def _dispatch(self) -> ServerSentEvent | None:
        draft, self._draft = self._draft, _Draft()
        if not draft.data:
            return None
        return ServerSentEvent(draft.event or "message", "\n".join(draft.data), self.last_event_id)


class _LineSplitter:
    """Cuts text at LF, CR and CRLF; a CR at the end of a piece may be half of a CRLF."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._after_cr = False

    def feed(self, text: str) -> list[str]:
        if self._after_cr and text:
            text, self._after_cr = text.removeprefix("\n"), False
        self._after_cr = self._after_cr or text.endswith("\r")
        *whole, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if whole:
            whole[0] = "".join([*self._pieces, whole[0]])
            self._pieces = []
        if rest:
            self._pieces.append(rest)
        return whole
