"""Which files of a folder become documents."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlm_client import RequestError
from rlm_client._cli.files import Collected, Selection, collect, decoded

ALL = Selection()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the temporary folder a repository's root and the current one."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _put(path: Path, text: str = "text") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _names(collected: Collected) -> list[str]:
    return [document.name for document in collected.documents]


def test_folders_walked_in_order(tree: Path) -> None:
    for name in ("b.txt", "a/2.txt", "a/1.txt", "c/d/e.md"):
        _put(tree / name)

    assert _names(collect(["."], ALL)) == ["a/1.txt", "a/2.txt", "b.txt", "c/d/e.md"]
    assert _names(collect(["c", "b.txt"], ALL)) == ["c/d/e.md", "b.txt"]


def test_gitignore_respected(tree: Path) -> None:
    _put(tree / ".gitignore", "*.log\nbuild/\n/only_here.txt\n")
    _put(tree / "src/.gitignore", "!kept.log\nsecret.txt\n")
    kept = ["src/kept.log", "src/only_here.txt", "src/deep/x.txt"]
    for name in [
        *kept,
        "x.log",
        "only_here.txt",
        "build/out.txt",
        "src/secret.txt",
        "src/deep/secret.txt",
        "src/a.log",
    ]:
        _put(tree / name)

    found = collect(["."], ALL)

    assert sorted(set(_names(found)) - {".gitignore", "src/.gitignore"}) == sorted(kept)
    assert found.skipped == {"ignored by git": 6}


def test_ignores_above_count(tree: Path) -> None:
    _put(tree / ".gitignore", "*.log\n/a/b/out.txt\n")
    for name in ("a/b/x.log", "a/b/out.txt", "a/b/x.txt"):
        _put(tree / name)

    assert _names(collect(["a/b"], ALL)) == ["a/b/x.txt"]


def test_ignores_end_at_root(tree: Path) -> None:
    _put(tree / ".gitignore", "*.txt\n")
    (tree / "inner" / ".git").mkdir(parents=True)
    _put(tree / "inner/x.txt")

    assert _names(collect(["inner"], ALL)) == ["inner/x.txt"]


def test_binary_skipped(tree: Path) -> None:
    (tree / "image.png").write_bytes(b"\x89PNG\0\0")
    (tree / "latin.txt").write_bytes("fünf".encode("latin-1"))
    (tree / "bom.txt").write_bytes(b"\xef\xbb\xbftext")
    _put(tree / "empty.txt", " \n")

    found = collect(["."], ALL)

    assert [(item.name, item.text) for item in found.documents] == [("bom.txt", "text")]
    assert found.skipped == {"binary": 2, "empty": 1}


def test_private_and_tools_skipped(tree: Path) -> None:
    for name in (".env", ".env.local", "certs/server.pem", "id_rsa", "node_modules/x.js", "a/__pycache__/x.txt"):
        _put(tree / name)
    _put(tree / ".env.example")

    found = collect(["."], ALL)

    assert _names(found) == [".env.example"]
    assert found.skipped == {"private": 4, "tool folder": 2}


def test_named_file_always_read(tree: Path) -> None:
    _put(tree / ".gitignore", ".env\n")
    _put(tree / ".env", "KEY=1")

    assert _names(collect([".env"], ALL)) == [".env"]


def test_named_binary_refused(tree: Path) -> None:
    (tree / "image.png").write_bytes(b"\x89PNG\0\0")

    with pytest.raises(RequestError, match=r"image\.png is not UTF-8 text"):
        collect(["image.png"], ALL)
    with pytest.raises(RequestError, match="missing: No such file"):
        collect(["missing"], ALL)


def test_nothing_sent_twice(tree: Path) -> None:
    _put(tree / "a/x.txt")

    assert _names(collect(["a", "a/../a", "."], ALL)) == ["a/x.txt"]


def test_links_not_followed(tree: Path) -> None:
    _put(tree / "real/x.txt")
    (tree / "real/loop").symlink_to(tree)
    (tree / "real/link.txt").symlink_to("/etc/hostname")
    os.mkfifo(tree / "real/pipe")

    found = collect(["real"], ALL)

    assert _names(found) == ["real/x.txt"]
    assert found.skipped == {"not a regular file": 3}


def test_patterns_select(tree: Path) -> None:
    for name in ("a.py", "a_test.py", "docs/b.md", "docs/c.py"):
        _put(tree / name)

    assert _names(collect(["."], Selection.of(["*.py"], ["*_test.py", "docs/"]))) == ["a.py"]
    assert _names(collect(["."], Selection.of([], ["*.py"]))) == ["docs/b.md"]


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"a\0b", None), (b"\xff", None), ("ü".encode(), "ü")])
def test_text_told_from_binary(data: bytes, text: str | None) -> None:
    assert decoded(data) == text
