"""Every command and program in the README runs, here or as a step of continuous integration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rlm_worker.models.catalog import CATALOG_DATE, Catalog
from rlm_worker.settings import Settings
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# These cost money or an account, or are what runs this test.
ELSEWHERE = {"./scripts/deploy", "./scripts/bench", "./scripts/usage"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """The commands behind `$`, their continuation lines included."""
    lines = "\n".join(blocks("console")).replace("\\\n", " ").splitlines()
    return [" ".join(line[2:].split()) for line in lines if line.startswith("$ ")]


def in_ci(command: str) -> bool:
    return command.split(" #", maxsplit=1)[0].strip() in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> object:
    with ScriptedModel() as model, DevProcess(tmp_path_factory.mktemp("state"), ai=model.url) as worker:
        model.rules = [fixed("7481932")]
        yield worker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the README's examples speak of."""
    for name in (
        "src/auth.py",
        "src/rlm_client/_cli/errors.py",
        "docs/guide.md",
        "old.txt",
        "new.txt",
        "book.txt",
        "contract.txt",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("Passwords are hashed in auth.py. Ann and Bob are mentioned. " * 20, encoding="utf-8")
    return tmp_path


def environment(worker: DevProcess) -> dict[str, str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "RLM_BASE_URL": worker.url}


def run(command: str, folder: Path, worker: DevProcess) -> subprocess.CompletedProcess[str]:
    local = command.replace("http://127.0.0.1:8787", worker.url)
    local = re.sub(r"^rlm ", f"{sys.executable} -m rlm_client._cli ", local)
    return subprocess.run(
        ["bash", "-c", local],
        cwd=folder if "rlm_client" in local else ROOT,
        env=environment(worker),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.worker
@pytest.mark.parametrize("command", [command for command in commands() if not in_ci(command)])
def test_command_runs(command: str, folder: Path, served: DevProcess) -> None:
    program = command.split(maxsplit=1)[0]
    if program in ELSEWHERE and "--dry-run" not in command:
        pytest.skip("needs an account, or minutes of a quiet machine")
    if program in {"export", "./scripts/test", "./scripts/dev", "pip", "python3"}:
        pytest.skip("what this test itself stands on")
    if "--follow" in command:
        run('rlm ask "Who is mentioned?" contract.txt', folder, served)
    done = run(command, folder, served)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.worker
@pytest.mark.parametrize("program", blocks("python"))
def test_program_runs(program: str, folder: Path, served: DevProcess) -> None:
    local = program.replace("http://127.0.0.1:8787", served.url)
    done = subprocess.run(
        [sys.executable, "-c", local],
        cwd=folder,
        env=environment(served),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_scripts_exist() -> None:
    named = {command.split()[0] for command in commands() if command.startswith("./scripts/")}
    assert named
    for script in named:
        assert shutil.which(str(ROOT / script)), script


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, as cells."""
    _, _, section = README.partition(f"\n{heading}\n")
    lines = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_prices_are_the_catalogs() -> None:
    expected = [
        [
            ", ".join(f"`{alias}`" for alias in aliases if not alias.startswith("@")),
            *(f"`{model.id}`", f"{model.window:,}", f"{model.input_price:.3f}", f"{model.output_price:.3f}"),
            "" if model.cached_price is None else f"{model.cached_price:.3f}",
        ]
        for model, aliases in Catalog.standard().models()
    ]
    assert table("## Models and prices") == expected
    assert CATALOG_DATE in README


def test_every_var_is_named_with_its_default() -> None:
    read: set[str] = set()

    def note(name: str) -> str | None:
        read.add(name)
        return "x:y" if name == "RLM_API_KEYS" else None

    Settings.from_vars(note)
    named: dict[str, str] = {}
    for variables, default, _ in table("### Configure"):
        names = re.findall(r"`(\w+)`", variables)
        defaults = default.split(", ") if len(names) > 1 else [default] * len(names)
        named |= dict(zip(names, defaults, strict=True))
    assert read - {"RLM_API_KEYS", "RLM_ADMIN_KEYS", "RLM_LOCAL", "RLM_LOCAL_MODELS", "RLM_LOADER"} == set(named)
    numbers = {name: default for name, default in named.items() if re.fullmatch(r"[\d.]+", default)}
    told = Settings.from_vars({**numbers, "RLM_API_KEYS": "x:y"}.get)
    silent = Settings.from_vars({"RLM_API_KEYS": "x:y"}.get)
    assert replace(told, catalog=silent.catalog) == silent
