"""What a newcomer does: a folder of source code, a question, and the real local models behind the real runtime."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local.runtime.dev_process import DevProcess

pytestmark = [pytest.mark.worker, pytest.mark.slow]

SRC = Path(__file__).parents[2] / "src"
FILES = {
    "app/passwords.py": '''"""Passwords are kept as salted digests."""

import hashlib
import os


def stretch_secret(password: str) -> bytes:
    """Hash a password with a fresh salt."""
    salt = os.urandom(16)
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
''',
    "app/greeting.py": '''"""What visitors are told."""


def welcome(name: str) -> str:
    """Greet a visitor by name."""
    return f"Welcome, {name}!"
''',
    "app/build/app.bin": "\0",
}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(tmp_path_factory.mktemp("state"), ai="local") as process:
        yield process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_folder_answered_with_its_cost(local: DevProcess, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "RLM_BASE_URL": local.url}
    environment.pop("RLM_API_KEY", None)
    done = subprocess.run(
        [sys.executable, "-m", "rlm_client._cli", "ask", "Which function hashes passwords? Give its name.", "app"],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "stretch_secret" in done.stdout
    assert "2 documents" in done.stderr
    assert "left out: 1 binary" in done.stderr
    assert re.search(r"^\$0 · .* · direct · 1 iteration · .* tokens in, ", done.stderr, re.MULTILINE)
