"""From paths on the command line to documents: folders are walked, and what nobody means to send is left out."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from pathspec import GitIgnoreSpec

from rlm_client._context import Document
from rlm_client._errors import RequestError

STDIN = "-"
SNIFF_BYTES = 8_192
"""Bytes looked at to tell text from binary, as git does."""

# Folders that tools fill, skipped also where no .gitignore says so. A path given by name is always read.
REPOSITORY_FOLDERS = frozenset({".git", ".hg", ".svn", ".jj"})
TOOL_FOLDERS = frozenset(
    {".tox", ".venv", "venv", "node_modules", "__pycache__"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".idea", ".gradle", ".terraform"}
)
# Files that hold secrets more often than answers.
PRIVATE = GitIgnoreSpec.from_lines(
    [".env", ".env.*", "!.env.example", ".dev.vars", "*.pem", "*.key", "*.p12", "id_rsa", "id_ed25519", ".netrc"]
)


@dataclass(slots=True)
class Collected:
    """The documents found, and how many files were left out for which reason."""

    documents: list[Document] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def characters(self) -> int:
        """The length of all texts together."""
        return sum(len(document.text) for document in self.documents)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which names to take from folders, in gitignore's pattern language; no `include` takes all."""

    include: GitIgnoreSpec | None = None
    exclude: GitIgnoreSpec | None = None

    @classmethod
    def of(cls, include: Sequence[str], exclude: Sequence[str]) -> Selection:
        """Return the selection that such patterns describe."""
        return cls(*(GitIgnoreSpec.from_lines(patterns) if patterns else None for patterns in (include, exclude)))

    def refusal(self, path: Path) -> str | None:
        """Return why a file is left out, or None."""
        name = path.as_posix()
        if self.exclude and self.exclude.match_file(name):
            return "excluded"
        if self.include and not self.include.match_file(name):
            return "not included"
        return "private" if PRIVATE.match_file(path.name) else None


def collect(paths: Sequence[str], selection: Selection) -> Collected:
    """Read every path: files as they are, folders walked in order of name, `-` as standard input.

    Raises `RequestError` when a file that was named is missing or is no text.
    """
    found, seen = Collected(), set[Path]()
    for path in paths:
        for document, reason in _documents(path, selection, seen):
            if document is not None:
                found.documents.append(document)
            else:
                found.skipped[reason] += 1
    return found


def decoded(data: bytes) -> str | None:
    """Return UTF-8 text without its byte order mark; None for anything else."""
    if b"\0" in data[:SNIFF_BYTES]:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _documents(path: str, selection: Selection, seen: set[Path]) -> Iterator[tuple[Document | None, str]]:
    if path == STDIN:
        yield Document("stdin", _text(sys.stdin.buffer.read(), "standard input")), ""
    elif Path(path).is_dir():
        yield from _walk(Path(path), selection, seen)
    else:
        yield Document(_name(Path(path)), _named_text(Path(path))), ""
        seen.add(Path(path).resolve())


def _named_text(path: Path) -> str:
    try:
        return _text(path.read_bytes(), str(path))
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}.") from None


def _text(data: bytes, name: str) -> str:
    text = decoded(data)
    if text is None:
        raise RequestError(f"{name} is not UTF-8 text.")
    return text


def _walk(folder: Path, selection: Selection, seen: set[Path]) -> Iterator[tuple[Document | None, str]]:
    for path, reason in _files_below(folder, selection):
        if reason or path.resolve() in seen:
            yield None, reason or "given twice"
            continue
        seen.add(path.resolve())
        yield _found(path)


def _found(path: Path) -> tuple[Document | None, str]:
    try:
        text = decoded(path.read_bytes())
    except OSError:
        return None, "unreadable"
    if text is None:
        return None, "binary"
    return (Document(_name(path), text), "") if text.strip() else (None, "empty")


def _name(path: Path) -> str:
    return PurePath(os.path.normpath(path)).as_posix()


def _files_below(folder: Path, selection: Selection) -> Iterator[tuple[Path, str]]:
    """Yield the files below a folder in order of name, each with the reason to leave it out, or with none."""
    yield from _below(folder, _inherited(folder), selection)


@dataclass(frozen=True, slots=True)
class _Ignores:
    """The .gitignore of one folder, and those of the folders above it."""

    folder: Path
    spec: GitIgnoreSpec
    above: _Ignores | None

    def ignores(self, path: Path, *, is_folder: bool) -> bool:
        """Whether git would pass the path by; the nearest file that says anything decides."""
        relative = path.relative_to(self.folder).as_posix() + ("/" if is_folder else "")
        verdict = self.spec.check_file(relative).include
        if verdict is not None:
            return verdict
        return self.above is not None and self.above.ignores(path, is_folder=is_folder)


def _inherited(folder: Path) -> _Ignores | None:
    resolved = folder.resolve()
    lineage = [resolved, *resolved.parents]
    root = next((parent for parent in lineage if (parent / ".git").exists()), resolved)
    ignores: _Ignores | None = None
    for parent in reversed(lineage[1 : lineage.index(root) + 1]):
        ignores = _with(parent, ignores)
    return ignores


def _with(folder: Path, above: _Ignores | None) -> _Ignores | None:
    lines = [line for name in (".git/info/exclude", ".gitignore") for line in _lines(folder / name)]
    return _Ignores(folder, GitIgnoreSpec.from_lines(lines), above) if lines else above


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _below(folder: Path, above: _Ignores | None, selection: Selection) -> Iterator[tuple[Path, str]]:
    ignores = _with(folder.resolve(), above)
    for entry in _entries(folder):
        if entry.name in REPOSITORY_FOLDERS:
            continue
        path, real = folder / entry.name, folder.resolve() / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if ignores is not None and ignores.ignores(real, is_folder=is_folder):
            yield path, "ignored by git"
        elif is_folder:
            yield from [(path, "tool folder")] if entry.name in TOOL_FOLDERS else _below(path, ignores, selection)
        else:
            yield path, selection.refusal(path) or _kind(entry)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _kind(entry: os.DirEntry[str]) -> str:
    # A link would send its target twice, or from outside the folder; a pipe or a device has no end.
    mode = entry.stat(follow_symlinks=False).st_mode
    return "" if stat.S_ISREG(mode) else "not a regular file"
