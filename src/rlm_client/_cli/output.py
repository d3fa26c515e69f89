"""Files that commands write."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from .console import notes


def check_writable(path: Path | None) -> None:
    """Raise `UsageError` for a place where nothing can be written, before anything is paid for."""
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise click.UsageError(f"Cannot write {path}: its folder does not exist or may not be written to.")


def write_whole(path: Path, text: str, what: str) -> None:
    """Write a file whole or not at all: what was there before stays until the new one is complete."""
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            Path(partial).chmod(0o666 & ~_umask())
            Path(partial).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(partial).unlink()
            raise
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
    notes().print(f"{what}: {path}", soft_wrap=True, highlight=False)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
