"""The body of `POST /rlm`, held once as bytes: what is long in it, the context, is cut and never built as a whole."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from rlm_worker.errors import FieldProblem, InvalidRequest, MalformedBody, PayloadTooLarge
from rlm_worker.json_scan import MAX_BRACKETS, Bytes, item_ranges, member_ranges, string_blocks
from rlm_worker.memory import MIB
from rlm_worker.text.context import Names
from rlm_worker.wire.requests import (
    MAX_NAME_CHARACTERS,
    ContextItem,
    Document,
    RunConfig,
    RunRequest,
    field_problems,
    parse_request,
)

# Shorter bodies are read by pydantic's parser as a whole, which takes up to so many times their bytes; so is what a
# longer one holds beside its context.
WHOLE_BYTES = 256 * 1024
WHOLE_FACTOR = 7
# A key may be written in escapes of six bytes a character, a name in twelve; what is longer is none of ours.
_KEY_BYTES, _NAME_BYTES = 6 * len("context") + 2, 12 * MAX_NAME_CHARACTERS + 2
# What a store's part takes while it is written, in Python and in JavaScript.
_WRITING_BYTES = 10 * MIB
_ITEM: TypeAdapter[str | Document] = TypeAdapter(ContextItem)
_MEMBERS = 2
_QUOTE, _OPENING = ord('"'), ord("{")


def needed_bytes(size: int) -> int:
    """How much of the isolate's memory a body of that many bytes takes until its run has begun."""
    return WHOLE_FACTOR * size if size <= WHOLE_BYTES else size + min(2 * size, _WRITING_BYTES) + MIB


@dataclass(slots=True)
class SentTexts:
    """The documents of a body, each read from it in blocks when it is asked for."""

    body: Bytes
    names: Names = field(default_factory=Names)
    starts: array[int] = field(default_factory=lambda: array("Q"))
    ends: array[int] = field(default_factory=lambda: array("Q"))

    def documents(self) -> Iterator[tuple[str | None, Iterator[str]]]:
        """Each document's name and its text in blocks; raises `MalformedBody` for what is no text."""
        for name, start, end in zip(self.names, self.starts, self.ends, strict=True):
            yield name, string_blocks(self.body, start, end)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str | None, start: int, end: int) -> None:
        """The document whose text is the JSON string that stands there."""
        self.names.append(name)
        self.starts.append(start)
        self.ends.append(end)

    def close(self) -> None:
        """Lets the body go."""
        self.body = b""


def read_run(
    body: Bytes,
    defaults: RunConfig | None = None,
    *,
    max_documents: int = MAX_BRACKETS,
    whole_bytes: int = WHOLE_BYTES,
) -> tuple[RunRequest, SentTexts | None]:
    """The request in a body, and its texts where they are not in the request; refuses as `parse_request` does.

    Only a body of more than `whole_bytes` is cut: there the `max_documents` are counted as they are met.
    """
    if len(body) <= whole_bytes:
        return parse_request(body, defaults), None
    start, end = _context_range(body)
    texts = _texts(body, start, end, max_documents)
    if len(body) - (end - start) > WHOLE_BYTES:
        raise InvalidRequest.at("", f"what stands beside the context has more than {WHOLE_BYTES:,} bytes")
    rest = body[:start] + (b"null" if texts is None else b'""') + body[end:] if start < end else body
    return parse_request(rest, defaults), texts


def _context_range(body: Bytes) -> tuple[int, int]:
    """Where the context stands; an empty range where there is none. Raises `MalformedBody` where there are two."""
    found = (0, 0)
    first = len(body) - len(body.lstrip()) if body[:1].isspace() else 0
    for key, start, end in member_ranges(body, first, len(body)):
        if _string(key, _KEY_BYTES) == "context":
            if found[1] > found[0]:
                raise MalformedBody("the body has two contexts")
            found = (start, end)
    return found


def _texts(body: Bytes, start: int, end: int, max_documents: int) -> SentTexts | None:
    """The texts of a context; None where it is null. Raises `InvalidRequest` for what is none, `PayloadTooLarge`."""
    texts = SentTexts(body)
    if start == end or body[start : min(end, start + 5)] == b"null":
        return None
    if body[start] == _QUOTE:
        texts.add(None, start, end)
    elif body[start] == ord("["):
        for number, (first, last) in enumerate(item_ranges(body, start, end)):
            if number >= max_documents:
                raise PayloadTooLarge(max_documents, "documents")
            _add_item(texts, number, first, last)
    else:
        message = 'must be a string, a list of strings, or a list of {"name", "text"}'
        raise InvalidRequest.at("context", message)
    return texts


def _add_item(texts: SentTexts, number: int, start: int, end: int) -> None:
    body = texts.body
    if body[start] == _QUOTE:
        texts.add(None, start, end)
        return
    members = list(islice(member_ranges(body, start, end), _MEMBERS + 1)) if body[start] == _OPENING else []
    places = {_string(key, _KEY_BYTES): (first, last) for key, first, last in members}
    if places.keys() == {"name", "text"} and len(members) == _MEMBERS:
        first, last = places["name"]
        name = _string(body[first : min(last, first + _NAME_BYTES + 1)], _NAME_BYTES)
        if name is not None and len(name) <= MAX_NAME_CHARACTERS and body[places["text"][0]] == _QUOTE:
            texts.add(name, *places["text"])
            return
    raise _item_refusal(body, number, start, end)


def _string(written: Bytes, most_bytes: int) -> str | None:
    """A string of JSON; None for one that is longer, for what is none, and for what is no JSON."""
    if len(written) > most_bytes:
        return None
    try:
        found = from_json(written)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def _item_refusal(body: Bytes, number: int, start: int, end: int) -> InvalidRequest:
    """What is wrong with an item of a context: of one that may be built, in the words that any other field gets."""
    path = f"context.{number}"
    if end - start > WHOLE_BYTES:
        return InvalidRequest.at(path, "must be a string, or have `name` (a short one) and `text`, each of them once")
    try:
        _ITEM.validate_json(bytes(body[start:end]))
    except ValidationError as error:
        problems = field_problems(error)
        return InvalidRequest(
            [FieldProblem(f"{path}.{problem.path}".rstrip("."), problem.message) for problem in problems]
        )
    return InvalidRequest.at(path, "must have `name` and `text`, each of them once")
