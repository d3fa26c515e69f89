"""The documents of a context as a prompt shows them: a few by name, many as folders with counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rlm_worker.text.names import shown_name

_MAX_NAMES, _MAX_NAME_CHARACTERS = 20, 80
# Lines of a tree, and how deep it is looked into.
_MAX_LINES, _MAX_DEPTH = 40, 6
# Documents of one folder that are named, but for those in none.
_MAX_SHOWN = 8

Documents = Sequence[tuple[str | None, int]]


@dataclass(slots=True)
class _Folder:
    """What lies under one folder: how many documents, their characters, and its own folders and documents."""

    name: str
    depth: int
    count: int = 0
    characters: int = 0
    folders: dict[str, _Folder] = field(default_factory=dict)
    own: list[int] = field(default_factory=list)


def listed(documents: Documents) -> str:
    """All of up to 20 documents with their lengths, on the same line; of more, their folders, one a line."""
    if len(documents) <= _MAX_NAMES:
        shown = (_document(documents, number) for number in range(len(documents)))
        return f": {', '.join(shown)}"
    return ":\n" + "\n".join(_lines(_tree(documents), documents))


def _document(documents: Documents, number: int, last: str | None = None) -> str:
    name, characters = documents[number]
    return f"{shown_name(last or name or f'#{number}', _MAX_NAME_CHARACTERS)} ({characters:,})"


def _tree(documents: Documents) -> _Folder:
    root = _Folder("", -1)
    for number, (name, characters) in enumerate(documents):
        folder = root
        folder.count += 1
        folder.characters += characters
        for part in (name or "").split("/", _MAX_DEPTH)[:-1][:_MAX_DEPTH]:
            inner = folder.folders.get(part)
            if inner is None:
                inner = folder.folders[part] = _Folder(part, folder.depth + 1)
            folder = inner
            folder.count += 1
            folder.characters += characters
        folder.own.append(number)
    return root


def _lines(root: _Folder, documents: Documents) -> Iterator[str]:
    """The tree, opened where most documents are as long as there is room."""
    yield from _below(root, documents, _opened(root))


def _opened(root: _Folder) -> set[int]:
    """The folders whose contents are shown, by their identity: the fullest first, while the lines suffice."""
    opened, room, waiting = set[int](), _MAX_LINES - 1, [root]
    while waiting:
        waiting.sort(key=lambda folder: folder.count)
        folder = waiting.pop()
        wanted = len(folder.folders) + min(len(folder.own), 1)
        if folder is not root and wanted > room:
            continue
        room -= min(wanted, room)
        opened.add(id(folder))
        waiting += sorted(folder.folders.values(), key=lambda one: -one.count)[:_MAX_LINES]
    return opened


def _below(folder: _Folder, documents: Documents, opened: set[int]) -> Iterator[str]:
    indent = "  " * (folder.depth + 1)
    inner = sorted(folder.folders.values(), key=lambda one: -one.count)
    for one in inner[: _MAX_LINES - 1]:
        name = shown_name(one.name, _MAX_NAME_CHARACTERS)
        documents_in = "1 document" if one.count == 1 else f"{one.count:,} documents"
        yield f"{indent}{name}/ ({documents_in}, {one.characters:,} characters)"
        if id(one) in opened:
            yield from _below(one, documents, opened)
    if rest := inner[_MAX_LINES - 1 :]:
        yield f"{indent}and {len(rest):,} more folders ({sum(one.count for one in rest):,} documents)"
    if folder.own:
        shown = folder.own[: _MAX_NAMES if folder.depth < 0 else _MAX_SHOWN]
        names = [_document(documents, number, _last(documents[number][0])) for number in shown]
        more = len(folder.own) - len(names)
        yield f"{indent}{', '.join(names)}{f', and {more:,} more' if more > 0 else ''}"


def _last(name: str | None) -> str | None:
    return None if name is None else name.split("/", _MAX_DEPTH)[-1]
