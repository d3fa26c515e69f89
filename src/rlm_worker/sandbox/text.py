"""The context as code in the sandbox sees it: real strings where they are short, lazy views where they are long.

Offsets are characters of the whole context. A `Text` is a string that knows where it comes from, so that it can be
handed to a model by reference; what is cut out of it by slicing knows that too.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import SupportsIndex, overload

from .places import LineIndex, heading_above, visible

# Texts up to this many characters are held as strings; longer ones are views that read when they are asked.
EAGER = 1_000_000
# A view longer than this is never made one string: it would not fit the isolate.
WHOLE = 8_000_000
_BLOCK = 65_536
_BLOCKS_KEPT = 32
_WINDOW = 500_000
# No match of a search is longer than this where two windows meet.
_SEAM = 5_000
# A search that has found what it shows counts on: so far, and so many.
_COUNT_REACH, _MAX_COUNT = 4_000_000, 10_000
_INDEXES_KEPT = 500
# Hits that are shown together.
_MAX_TOLD = 100
_MAX_NAME, _MIN_ALIKE = 80, 3
_NOTES = 300
_EDGE = 32

Read = Callable[[int, int], str]
Words = str | re.Pattern[str] | Sequence[str]


class NoSuchDocument(KeyError):
    """There is no such document; says what there is."""

    def __str__(self) -> str:
        return str(self.args[0])  # a `KeyError` would show it as Python writes it


@dataclass(frozen=True, slots=True)
class DocumentSpan:
    """Where one document lies in the context."""

    name: str | None
    start: int
    end: int


@dataclass(slots=True)
class Origin:
    """The context behind all texts: how to read it, its documents, and which texts were lately written out."""

    read_range: Read
    spans: Sequence[DocumentSpan]
    _blocks: OrderedDict[int, str] = field(default_factory=OrderedDict)
    _notes: deque[Text] = field(default_factory=lambda: deque(maxlen=_NOTES))
    _indexes: OrderedDict[int, LineIndex] = field(default_factory=OrderedDict)

    @property
    def characters(self) -> int:
        return self.spans[-1].end if self.spans else 0

    def whole(self) -> Text | View:
        return self.part(0, self.characters, self.spans[0].name if len(self.spans) == 1 else None)

    def part(self, start: int, end: int, name: str | None = None) -> Text | View:
        """Characters `start` to `end`, as a string if that is short enough."""
        if end - start > EAGER:
            return View(self, start, end, name)
        return Text(self, start, self.read(start, end), name)

    def read(self, start: int, end: int) -> str:
        if end - start > 4 * _BLOCK:
            return "".join(self.read_range(at, min(at + EAGER, end)) for at in range(start, end, EAGER))
        first = start // _BLOCK
        text = "".join(self._block(number) for number in range(first, -(-end // _BLOCK)))
        return text[start - first * _BLOCK : end - first * _BLOCK]

    def _block(self, number: int) -> str:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        block = self.read_range(number * _BLOCK, min((number + 1) * _BLOCK, self.characters))
        self._blocks[number] = block
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return block

    def documents(self, start: int, end: int) -> list[DocumentSpan]:
        """The documents that begin or go on between two offsets, cut to them."""
        first = max(0, bisect_right(self.spans, start, key=lambda span: span.start) - 1)
        found: list[DocumentSpan] = []
        for number in range(first, len(self.spans)):
            span = self.spans[number]
            if span.start >= end and span.start > start:
                break
            if span.end > start or span.start >= start:
                found.append(DocumentSpan(span.name, max(start, span.start), min(end, span.end)))
        return found

    def number_at(self, at: int) -> int:
        """The number, from 0, of the document in which a character stands."""
        return max(0, bisect_right(self.spans, at, key=lambda span: span.start) - 1)

    def label(self, number: int) -> str:
        """What a document is called where places are told: its name on one line, else its number."""
        name = self.spans[number].name
        if name is not None:
            return visible(name, _MAX_NAME)
        return "context" if len(self.spans) == 1 else f"#{number}"

    def number_of(self, document: object) -> int:
        """The number of a document, by its number, its name or a text out of it; raises `NoSuchDocument`."""
        if isinstance(document, Readable):
            number = self.number_at(document.start)
            if document.end > self.spans[number].end:
                raise NoSuchDocument("that text holds several documents: take one, by name or number")
            return number
        if isinstance(document, int):
            if not -len(self.spans) <= document < len(self.spans):
                raise NoSuchDocument(f"documents are numbered from 0 to {len(self.spans) - 1}: there is no {document}")
            return document % len(self.spans)
        return self._number_named(str(document))

    def _number_named(self, name: str) -> int:
        found = next((number for number, span in enumerate(self.spans) if span.name == name), None)
        if found is not None:
            return found
        told = next((number for number in range(len(self.spans)) if self.label(number) == name), None)
        if told is not None:
            return told
        alike = [span.name for span in self.spans if span.name and _are_alike(name, span.name)][:3]
        hint = f"; did you mean {', '.join(repr(one) for one in alike)}?" if name and alike else ""
        raise NoSuchDocument(f"no document is named {visible(name, _MAX_NAME)!r}; see context.names{hint}")

    def line_index(self, number: int) -> LineIndex:
        """Where the lines of a document begin."""
        span = self.spans[number]
        index = self._indexes.pop(number, None) or LineIndex(self.read, span.start, span.end)
        self._indexes[number] = index
        if len(self._indexes) > _INDEXES_KEPT:
            self._indexes.popitem(last=False)
        return index

    def feed(self, start: int, text: str) -> None:
        """Gives text that was read on the way to the line indexes of the long documents in it."""
        for number in range(self.number_at(start), len(self.spans)):
            span = self.spans[number]
            if span.start >= start + len(text):
                break
            if span.end - span.start > _BLOCK:
                self.line_index(number).feed(max(start, span.start), text[max(0, span.start - start) :])

    def note(self, text: Text) -> None:
        """Remembers that a text was written out: it may be on its way to a model."""
        last = self._notes[-1] if self._notes else None
        if len(text) and (last is None or (last.start, last.end) != (text.start, text.end)):
            self._notes.append(text)

    def shown_in(self, written: str) -> list[list[int]]:
        """The spans of noted texts that stand whole in `written`; text that was cut up or changed is not found."""
        found = []
        for _ in range(len(self._notes)):
            text = self._notes[0]
            at = written.find(str.__getitem__(text, slice(0, _EDGE)))
            if at >= 0 and written.startswith(
                str.__getitem__(text, slice(-_EDGE, None)), at + max(0, len(text) - _EDGE)
            ):
                found.append([text.start, text.end])
            elif found:
                break
            self._notes.rotate(-1)
        return found


class Readable:
    """What texts and views have in common."""

    origin: Origin
    start: int
    end: int
    name: str | None

    @property
    def documents(self) -> Documents:
        """The documents, in order, each one a text with a `name`."""
        return Documents(self.origin, self.origin.documents(self.start, self.end))

    @property
    def names(self) -> list[str | None]:
        """The documents' names."""
        return [span.name for span in self.origin.documents(self.start, self.end)]

    @property
    def lines(self) -> Lines:
        """The lines without their ends, each one a text."""
        return Lines(self)

    def chunks(self, size: int = 20_000, overlap: int = 0) -> Chunks:
        """Parts of at most `size` characters, cut at the ends of documents, lines or words; a lazy sequence."""
        return Chunks(self, int(size), int(overlap))

    def search(self, words: Words, limit: int | None = 20, around: int = 120) -> Hits:
        """Matches of a regular expression (case ignored) or of any of several words, each with what stands around.

        The first `limit` are given; the others are counted, as far as that is done soon.
        """
        hits = Hits()
        reach = self.end
        for start, end in _matches(self, _pattern(words)):
            hits.total += 1
            if limit is None or len(hits) < limit:
                hits.append(self._hit(start, end, around))
                reach = start + _COUNT_REACH
            elif hits.total >= _MAX_COUNT or start >= reach:
                hits.complete = False
                break
        return hits

    def _hit(self, start: int, end: int, around: int) -> Hit:
        span = self.origin.spans[self.origin.number_at(start)]
        before = max(self.start, span.start, start - around)
        after = max(end, min(self.end, span.end, end + around))
        return Hit(self.origin, before, self.origin.read(before, after), span.name, start, end)

    def document(self, name: str) -> Text | View:
        """The document of that name; raises `NoSuchDocument`."""
        for span in self.origin.documents(self.start, self.end):
            if span.name == name:
                return self.origin.part(span.start, span.end, name)
        span = self.origin.spans[self.origin.number_of(name)]
        if self.start <= span.start and span.end <= self.end:
            return self.origin.part(span.start, span.end, span.name)
        raise NoSuchDocument(f"no document is named {name!r} in this text")


class Text(Readable, str):  # noqa: SLOT000 - it carries where it comes from
    """A string out of the context; `start` and `end` say where it lies."""

    def __new__(cls, origin: Origin, start: int, content: str, name: str | None = None, *_: object) -> Text:
        text = str.__new__(cls, content)
        text.origin, text.start, text.end, text.name = origin, start, start + len(content), name
        return text

    @property
    def text(self) -> str:
        return str(self)

    @overload
    def __getitem__(self, key: SupportsIndex | slice) -> str: ...
    @overload
    def __getitem__(self, key: str) -> Text | View: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> str | View:
        if isinstance(key, str):
            return self.document(key)
        if isinstance(key, slice) and key.step in (None, 1):
            start, _end, _step = key.indices(len(self))
            return Text(self.origin, self.start + start, str.__getitem__(self, key), self.name)
        return str.__getitem__(self, key)

    def __iter__(self) -> Iterator[str]:
        if len(spans := self.origin.documents(self.start, self.end)) > 1:
            return iter(Documents(self.origin, spans))  # type: ignore[arg-type] # views stand in for strings
        return str.__iter__(self)

    def __str__(self) -> str:
        self.origin.note(self)
        return str.__str__(self)

    def __repr__(self) -> str:
        self.origin.note(self)
        return str.__repr__(self)

    def __format__(self, spec: str) -> str:
        self.origin.note(self)
        return str.__format__(self, spec)

    def __add__(self, other: str) -> str:
        return str(self) + other

    def __radd__(self, other: str) -> str:
        return other + str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Hit(Text):
    """What a search found: the text around a match; `match` is the match itself, `at` its offset in the context."""

    def __new__(  # noqa: PLR0917 - what `Text` takes, and the match
        cls, origin: Origin, start: int, content: str, name: str | None = None, at: int = 0, match_end: int = 0
    ) -> Hit:
        hit = Text.__new__(cls, origin, start, content, name)
        assert isinstance(hit, Hit)
        hit.at, hit.match = at, content[at - start : match_end - start]
        return hit

    at: int
    match: str

    @property
    def line(self) -> int:
        """The line of the match in its document, counted from 1."""
        return self.origin.line_index(self.origin.number_at(self.at)).line_at(self.at)

    @property
    def heading(self) -> str:
        """The heading, or the definition, that the match stands under; or nothing."""
        span = self.origin.spans[self.origin.number_at(self.at)]
        return heading_above(self.origin.read, span.start, self.at, span.name)

    @property
    def place(self) -> str:
        """The document's name, or its number, and the line."""
        return f"{self.origin.label(self.origin.number_at(self.at))}:{self.line}"

    def __repr__(self) -> str:
        return f"Hit({self.place}, at={self.at}, match={self.match!r}, text={super().__repr__()})"


class Hits(list[Hit]):
    """What a search has found: the first matches, and how many there are; `complete` where all were counted."""

    def __init__(self, hits: Iterable[Hit] = (), total: int = 0, *, complete: bool = True) -> None:
        super().__init__(hits)
        self.total, self.complete = total, complete

    @overload
    def __getitem__(self, key: SupportsIndex) -> Hit: ...
    @overload
    def __getitem__(self, key: slice) -> Hits: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Hit | Hits:
        if isinstance(key, slice):
            return Hits(super().__getitem__(key), self.total, complete=self.complete)
        return super().__getitem__(key)

    def __repr__(self) -> str:
        if not self.total:
            return "no matches"
        count = f"{self.total:,}" if self.complete else f"more than {self.total - 1:,}"
        told = [self._told(hit) for hit in itertools.islice(self, _MAX_TOLD)]
        return "\n".join([f"{len(told):,} of {count} matches:", *told])

    @staticmethod
    def _told(hit: Hit) -> str:
        heading = hit.heading
        return f"--- {hit.place}{heading and f' ({heading})'} at={hit.at}\n{hit}"


class View(Readable):
    """A long text that is read when it is asked: slices of it are strings where they are short enough."""

    def __init__(self, origin: Origin, start: int, end: int, name: str | None = None) -> None:
        self.origin, self.start, self.end, self.name = origin, start, end, name

    def __len__(self) -> int:
        return self.end - self.start

    def __bool__(self) -> bool:
        return self.end > self.start

    def __getitem__(self, key: int | slice | str) -> str | View:
        if isinstance(key, str):
            return self.document(key)
        if isinstance(key, slice):
            start, end, step = key.indices(len(self))
            part = self.origin.part(self.start + start, self.start + max(start, end))
            return part if step == 1 else str(part)[::step]
        at = range(self.start, self.end)[key]
        return self.origin.read(at, at + 1)

    def __iter__(self) -> Iterator[Text | View]:
        return iter(self.documents)

    def __contains__(self, words: str) -> bool:
        return self.find(words) >= 0

    def find(self, words: str, start: int = 0) -> int:
        """Offset of the first occurrence from `start` on, counted from this text's beginning; -1 without one."""
        rest = View(self.origin, self.start + start, self.end)
        return next((at - self.start for at, _ in _matches(rest, re.compile(re.escape(words)))), -1)

    def count(self, words: str) -> int:
        """How often `words` occurs."""
        return sum(1 for _ in _matches(self, re.compile(re.escape(words))))

    @property
    def text(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if len(self) > WHOLE:
            raise ValueError(
                f"{len(self):,} characters are too many for one string: use slices, .search() or .chunks()"
            )
        return self.origin.read(self.start, self.end)

    def __repr__(self) -> str:
        head = self.origin.read(self.start, min(self.end, self.start + 60))
        return f"<lazy text of {len(self):,} characters: {head!r}…>"

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or not hasattr(str, name):
            raise AttributeError(name)
        return getattr(str(self), name)


class Documents(Sequence["Text | View"]):
    """Documents, read when they are asked for; by number, by slice or by name."""

    def __init__(self, origin: Origin, spans: Sequence[DocumentSpan]) -> None:
        self._origin = origin
        self._spans = spans

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, key: int | slice | str) -> Text | View | list[Text | View]:  # type: ignore[override]
        if isinstance(key, slice):
            return [self._read(span) for span in self._spans[key]]
        if isinstance(key, str):
            named = next((span for span in self._spans if span.name == key), None)
            return self._read(named or self._origin.spans[self._origin.number_of(key)])
        return self._read(self._spans[key])

    def _read(self, span: DocumentSpan) -> Text | View:
        return self._origin.part(span.start, span.end, span.name)

    def __repr__(self) -> str:
        return f"<{len(self):,} documents: {[span.name for span in self._spans[:5]]}>"


class Lines:
    """The lines of a text, read as they are asked for."""

    def __init__(self, text: Readable) -> None:
        self._text = text

    def __call__(self) -> Lines:
        return self

    def __iter__(self) -> Iterator[Text]:
        origin, at = self._text.origin, self._text.start
        rest = ""
        for start, end in _windows(self._text.start, self._text.end, _WINDOW):
            *lines, rest = (rest + origin.read(start, end)).split("\n")
            for line in lines:
                yield Text(origin, at, line)
                at += len(line) + 1
        if rest:
            yield Text(origin, at, rest)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, key: int | slice) -> Text | list[Text]:
        if isinstance(key, slice):
            bounds = (key.start or 0, 0 if key.stop is None else key.stop, 1 if key.step is None else key.step)
            if min(bounds) < 0 or key.stop is None:
                return list(self)[key]
            return list(itertools.islice(self, *bounds))
        if key < 0:
            return list(self)[key]
        for line in itertools.islice(self, key, None):
            return line
        raise IndexError("there are fewer lines")


class Chunks(Sequence["Text | View"]):
    """Parts of a text, cut where it reads well; nothing is read before it is asked for but the places to cut."""

    def __init__(self, text: Readable, size: int, overlap: int = 0) -> None:
        if size < 1 or not 0 <= overlap < size:
            raise ValueError("chunks need a size of at least 1 and an overlap below it")
        self._text = text
        self._size = size
        self._overlap = overlap
        self._ends: list[int] = []

    def spans(self) -> Iterator[tuple[int, int]]:
        """Start and end of each chunk."""
        number, start = 0, self._text.start
        while start < self._text.end:
            if number == len(self._ends):
                self._ends.append(self._cut(start))
            yield max(self._text.start, start - self._overlap), self._ends[number]
            start = self._ends[number]
            number += 1

    def _cut(self, start: int) -> int:
        origin, nominal = self._text.origin, start + self._size - (self._overlap if start > self._text.start else 0)
        if nominal >= self._text.end:
            return self._text.end
        documents = [span.end for span in origin.documents(nominal - self._size // 4, nominal) if span.end <= nominal]
        if documents and documents[-1] > start:
            return documents[-1]
        reach = min(self._size // 8, 2_000)
        tail = origin.read(nominal - reach, nominal)
        best = next((at + len(end) for end in ("\n\n", "\n", ". ", " ") if (at := tail.rfind(end)) >= 0), len(tail))
        return max(start + 1, nominal - reach + best)

    def __iter__(self) -> Iterator[Text | View]:
        for start, end in self.spans():
            yield self._text.origin.part(start, end)

    def __len__(self) -> int:
        return sum(1 for _ in self.spans())

    def __getitem__(self, key: int | slice) -> Text | View | list[Text | View]:  # type: ignore[override]
        spans = list(self.spans())
        if isinstance(key, slice):
            return [self._text.origin.part(start, end) for start, end in spans[key]]
        return self._text.origin.part(*spans[key])

    def __repr__(self) -> str:
        return f"<chunks of {self._size:,} characters>"


def _are_alike(one: str, other: str) -> bool:
    """Whether one of two names is a part of the other that is long enough to mean anything."""
    return len(min(one, other, key=len)) >= _MIN_ALIKE and (one in other or other in one)


def _windows(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    return ((at, min(at + size, end)) for at in range(start, end, size))


def _pattern(words: Words) -> re.Pattern[str]:
    if isinstance(words, re.Pattern):
        return words
    if not isinstance(words, str):
        return re.compile("|".join(re.escape(str(word)) for word in words), re.IGNORECASE)
    try:
        return re.compile(words, re.IGNORECASE | re.MULTILINE)
    except re.error:
        return re.compile(re.escape(words), re.IGNORECASE)


def _matches(text: Readable, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Start and end of each match that is not empty; windows overlap, so that none is lost where two meet."""
    reached = text.start
    for start, end in _windows(text.start, text.end, _WINDOW):
        content = text.origin.read(start, min(end + _SEAM, text.end))
        text.origin.feed(start, content)
        for match in pattern.finditer(content):
            found = start + match.start(), start + match.end()
            if found[0] >= end:
                break
            if found[0] >= reached and found[1] > found[0]:
                yield found
                reached = found[1]
