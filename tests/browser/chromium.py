"""A real browser for tests: Debian's Chromium, installed when it is first needed and may be."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import run_logged

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PAGE_MILLISECONDS = 20_000


def chromium(paths: LocalPaths) -> Path | None:
    """The browser's binary; None where there is none and none can be installed."""
    found = _installed()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _install(paths)
        found = _installed()
    return found


def page_after_scripts(browser: Path, url: str, log: Path) -> str:
    """The HTML of a page once its scripts have come to rest, as a fresh headless browser shows it."""
    with tempfile.TemporaryDirectory() as profile:
        command: list[str | Path] = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        # No look-ups by its own motion: a closed network makes each of them wait.
        command += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}"]
        return run_logged([*command, f"--virtual-time-budget={_PAGE_MILLISECONDS}", url], log)


def _installed() -> Path | None:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def _install(paths: LocalPaths) -> None:
    environment: Mapping[str, str] = {"DEBIAN_FRONTEND": "noninteractive"}
    log = paths.own / "logs" / "chromium.log"
    for arguments in (("update",), ("install", "-y", "--no-install-recommends", "chromium")):
        try:
            run_logged(["apt-get", *arguments], log, env=environment)
        except LocalError:
            return
