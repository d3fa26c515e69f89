"""From a bare Python with pip to our own environment, then on to the command: `bootstrap COMMAND [ARGUMENT…]`.

Runs under whatever Python the machine has, so it imports the standard library only. That Python may lack `venv` and
`ensurepip` and may refuse installs (PEP 668): `pip install --target` of virtualenv works in all of these cases.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import run_logged, termination_raises
from scripts.local.setup.pins import BOOTSTRAP
from scripts.local.setup.steps import Step, ensure

_HINT = "check that a Python package index can be reached (pip's own settings are honoured), then run it again"


def main(arguments: Sequence[str]) -> NoReturn:
    paths = local_paths()
    try:
        with termination_raises():
            ensure(paths, [environment_step(paths)])
    except LocalError as error:
        sys.exit(error.report())
    except KeyboardInterrupt:
        sys.exit("ended")
    command = [str(paths.python), "-P", "-m", "scripts.local.setup.prepare", *arguments]
    os.environ["PYTHONPATH"] = paths.python_path
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted, and the process is to become the command


def environment_step(paths: LocalPaths) -> Step:
    """The virtual environment that everything else runs in."""
    return Step(
        name="environment",
        inputs=(BOOTSTRAP, sys.version, str(paths.venv.resolve())),  # scripts in there name the folder
        outputs=(paths.python,),
        build=lambda: _build_environment(paths),
        hint=_HINT,
    )


def _build_environment(paths: LocalPaths) -> str:
    target = paths.parts / "bootstrap"
    shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(paths.venv, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_logged([*pip, "--target", target, BOOTSTRAP], paths.logs / "bootstrap.log", env=install_environment(paths))
    virtualenv = {"PYTHONPATH": str(target), "VIRTUALENV_OVERRIDE_APP_DATA": str(paths.parts / "cache" / "virtualenv")}
    make = [sys.executable, "-m", "virtualenv", "--quiet", "--no-download", paths.venv]
    run_logged(make, paths.logs / "virtualenv.log", env=virtualenv)
    return f"Python {sys.version.split()[0]}"


def install_environment(paths: LocalPaths) -> dict[str, str]:
    """Keeps what pip and npm cache inside our own folder, unless the machine says where it wants it."""
    wanted = {
        "PIP_CACHE_DIR": str(paths.parts / "cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "npm_config_cache": str(paths.parts / "cache" / "npm"),
        "npm_config_update_notifier": "false",
    }
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
