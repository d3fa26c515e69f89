"""What can be asked about: text, documents, or a context that was uploaded before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rlm_client._errors import RequestError
from rlm_client._models import StoredContext


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name, such as a file's path; the model sees both."""

    name: str
    text: str


Piece: TypeAlias = str | Document | Mapping[str, str]
Context: TypeAlias = str | StoredContext | Document | Sequence[Piece]


def wire_context(context: Context) -> dict[str, object]:
    """Return the field of a request that carries the context."""
    if isinstance(context, StoredContext):
        return {"contextId": context.context_id}
    if isinstance(context, str):
        return {"context": context}
    return {"context": [_wire_piece(piece) for piece in _pieces(context)]}


def characters(context: Context) -> int:
    """Return the size of the text that would travel with the request; a stored context adds none."""
    if isinstance(context, StoredContext):
        return 0
    return len(context) if isinstance(context, str) else sum(len(_text(piece)) for piece in _pieces(context))


def joined(context: Context) -> str:
    """Return the whole context as one text, every named document after a line with its name."""
    if isinstance(context, str):
        return context
    if isinstance(context, StoredContext):
        raise RequestError("A stored context has no text here.")
    return "\n\n".join(_headed(piece) for piece in _pieces(context))


def _pieces(context: Document | Sequence[Piece]) -> Sequence[Piece]:
    return [context] if isinstance(context, Document) else context


def _wire_piece(piece: Piece) -> object:
    if isinstance(piece, Document):
        return {"name": piece.name, "text": piece.text}
    return piece if isinstance(piece, str) else dict(piece)


def _text(piece: Piece) -> str:
    if isinstance(piece, str):
        return piece
    return piece.text if isinstance(piece, Document) else piece.get("text", "")


def _headed(piece: Piece) -> str:
    if isinstance(piece, str):
        return piece
    name = piece.name if isinstance(piece, Document) else piece.get("name", "")
    return f"--- document {json.dumps(name, ensure_ascii=False)}\n{_text(piece)}"
