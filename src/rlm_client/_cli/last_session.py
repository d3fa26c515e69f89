"""Which session was asked last from this machine, for `rlm ask --follow`: a small file for each Worker's address."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import click


def last_session(base_url: str) -> str | None:
    """Return the session that a Worker was asked last from here; None where none is known."""
    try:
        known = json.loads(_file(base_url).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    session_id = known.get("sessionId") if isinstance(known, dict) else None
    return session_id if isinstance(session_id, str) else None


def remember_session(base_url: str, session_id: str | None) -> None:
    """Write down the last session, whole or not at all; a place where nothing can be written keeps nothing."""
    if session_id is None:
        return
    file, text = _file(base_url), json.dumps({"baseUrl": base_url, "sessionId": session_id})
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as writing:
                writing.write(text)
            Path(partial).replace(file)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise


def _file(base_url: str) -> Path:
    return _folder() / f"last-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.json"


def _folder() -> Path:
    """Where programs keep what may be lost: the XDG state folder, elsewhere the platform's folder for programs."""
    if chosen := os.environ.get("XDG_STATE_HOME"):
        return Path(chosen) / "rlm"
    if sys.platform in ("darwin", "win32"):
        return Path(click.get_app_dir("rlm", roaming=False))
    return Path.home() / ".local" / "state" / "rlm"
