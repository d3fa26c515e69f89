"""Lines of a document with their numbers, as they are shown; nothing is read but what is on the way to them."""

from __future__ import annotations

from collections.abc import Iterator

from .text import Origin, Text

DEFAULT_LINES = 50
_MAX_LINES, _MAX_CHARACTERS = 2_000, 200_000
# Of a line that is longer so much is shown.
_MAX_LINE = 1_000
_MIN_TOLD = 8


def listed(origin: Origin, document: object, first: int = 1, last: int | None = None) -> str:
    """Lines `first` to `last` of a document; raises `NoSuchDocument` or `ValueError` that say what is there."""
    number = origin.number_of(document)
    last = checked(first, first) + DEFAULT_LINES - 1 if last is None else checked(first, last)
    label = origin.label(number)
    at = origin.line_index(number).start_of(first)
    if at is None:
        raise ValueError(_beyond(origin, number, first))
    shown = list(_numbered(origin, number, first, min(last, first + _MAX_LINES - 1), at))
    until = first + len(shown) - 1
    end = "" if until == last else f"\n({_why(origin, number, until)})"
    return f"{label}, lines {first} to {until}; line {first} begins at={at}\n" + "\n".join(shown) + end


def checked(first: object, last: object) -> int:
    """The last line, if both are lines; raises `ValueError`."""
    if not isinstance(first, int) or not isinstance(last, int):
        raise ValueError("lines are whole numbers, counted from 1")  # noqa: TRY004 - one kind for all that is wrong here
    if first < 1 or last < first:
        raise ValueError(f"lines are counted from 1, the first comes first: not {first} to {last}")
    return last


def span_of_lines(origin: Origin, document: object, first: int, last: int) -> tuple[int, int]:
    """Where lines of a document begin and end in the context, without the last one's end; raises as `listed` does."""
    number = origin.number_of(document)
    checked(first, last)
    index, end = origin.line_index(number), origin.spans[number].end
    start = index.start_of(first)
    if start is None:
        raise ValueError(_beyond(origin, number, first))
    behind = index.start_of(last + 1)
    tail = origin.read(max(start, end - 2), end) if behind is None else origin.read(max(start, behind - 2), behind)
    end = end if behind is None else behind
    return start, end - len(tail) + len(tail.rstrip("\r\n"))


def _numbered(origin: Origin, number: int, first: int, last: int, at: int) -> Iterator[str]:
    end, room = origin.spans[number].end, _MAX_CHARACTERS
    index = origin.line_index(number)
    for line in range(first, last + 1):
        text = origin.read(at, min(at + _MAX_LINE + 2, end))
        content, stop, _ = text.partition("\n")
        content_shown = content.removesuffix("\r")[:_MAX_LINE]
        # A line of a few letters stands in many an output: it is not told to have been shown.
        shown = Text(origin, at, content_shown) if len(content_shown) >= _MIN_TOLD else content_shown
        is_long = not stop and len(text) > _MAX_LINE
        yield f"{line}| {shown}" + (f" … [this line goes on at={at + _MAX_LINE}]" if is_long else "")
        room -= len(shown)
        behind = index.start_of(line + 1) if is_long and line < last else at + len(content) + 1
        if behind is None or behind >= end or room <= 0:
            return
        at = behind


def _beyond(origin: Origin, number: int, line: int) -> str:
    span = origin.spans[number]
    if span.start == span.end:
        return f"{origin.label(number)} is empty"
    return f"{origin.label(number)} has no line {line}: it has {origin.line_index(number).line_at(span.end - 1):,}"


def _why(origin: Origin, number: int, until: int) -> str:
    if origin.line_index(number).start_of(until + 1) is None:
        return "here the document ends"
    return f"no more at once; go on with first={until + 1}"
