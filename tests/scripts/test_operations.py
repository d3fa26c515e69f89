"""Every command on the page for ops runs: against a stand-in of Cloudflare's API, or a local deployment."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.cloud.errors import ADVICE
from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.scripts.cloudflare_stand_in import ACCOUNT, TOKEN, CloudflareStandIn

ROOT = local_paths().root
PAGE = (ROOT / "scripts" / "cloud" / "OPERATIONS.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ON_CLOUDFLARE = [command for command in COMMANDS if "keys" not in command.split()[0] and "--smoke" not in command]
# Against what is served here; the checklist itself is run by test_smoke.
ON_A_DEPLOYMENT = [command for command in COMMANDS if command.split()[0] == "./scripts/keys"]


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudflareStandIn]:
    with CloudflareStandIn() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with ScriptedModel() as model, DevProcess(tmp_path_factory.mktemp("operations"), ai=model.url) as process:
        yield process


def run(command: str, home: Path, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as the page has it, its script run by this Python."""
    script, *arguments = shlex.split(command)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDFLARE_", "RLM_BASE"))}
    places = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONPATH": local_paths().python_path}
    return subprocess.run(
        [sys.executable, "-P", "-m", f"scripts.cloud.{Path(script).name}", *arguments],
        cwd=ROOT,
        env={**clean, **places, **environment},
        input=typed,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("command", ON_CLOUDFLARE)
def test_command_runs_on_stand_in(cloud: CloudflareStandIn, tmp_path: Path, command: str) -> None:
    login = {
        "CLOUDFLARE_API_BASE_URL": cloud.url,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
    }
    if "--rollback" in command:  # there has to be a version before
        assert run("./scripts/deploy --yes", tmp_path, **login).returncode == 0
    done = run(command, tmp_path, typed="rlm-worker\n", **login)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.worker
@pytest.mark.parametrize("command", ON_A_DEPLOYMENT)
def test_command_runs_on_deployment(deployed: DevProcess, tmp_path: Path, command: str) -> None:
    done = run(command, tmp_path, RLM_BASE_URL=deployed.url)
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_were_found() -> None:
    assert len(ON_CLOUDFLARE) > 10
    assert len(ON_A_DEPLOYMENT) >= 5


def test_codes_on_page_are_known() -> None:
    _, _, table = PAGE.partition("| refused with |")
    cells = [line.split("|")[1] for line in table.partition("\n\n")[0].splitlines()[1:]]
    codes = {int(code) for cell in cells for code in re.findall(r"\d+", cell)}
    assert len(codes) > 4
    assert codes <= {advice.code for advice in ADVICE}


def test_page_is_linked() -> None:
    assert "scripts/cloud/OPERATIONS.md" in (ROOT / "README.md").read_text(encoding="utf-8")
