"""Between the bare environment and a command: `prepare [COMMAND [ARGUMENT…]]` prepares what COMMAND needs and runs it.

Imports the standard library only, because the tools are what it installs first.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Mapping, Sequence

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import say, termination_raises
from scripts.local.setup.components import modules_step, runtime_steps, tools_step, wrangler_step
from scripts.local.setup.steps import Step, ensure
from scripts.local.setup.weights import weights_steps

# What runs no Worker on this machine needs less than the rest.
_NEEDS: Mapping[str, tuple[Callable[[LocalPaths], Step], ...]] = {
    "check": (tools_step,),
    "keys": (tools_step,),
    "models": (tools_step,),
    "usage": (tools_step, wrangler_step),
    "wrangler": (tools_step, wrangler_step),
    "deploy": (tools_step, wrangler_step, modules_step),
}
# These speak to an account; all others are this machine's affair.
_CLOUD = frozenset({"deploy", "keys", "usage", "wrangler"})


def main(arguments: Sequence[str]) -> int:
    command = arguments[0] if arguments else "setup"
    try:
        with termination_raises():
            ensure(local_paths(), steps_for(local_paths(), command, arguments[1:]))
    except LocalError as error:
        print(error.report(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("ended")
        return 130
    if command == "setup":
        say("everything is prepared: ./scripts/demo, ./scripts/dev and ./scripts/test start in seconds")
        return 0
    sys.argv = [f"scripts/{command}", *arguments[1:]]
    runpy.run_module(_module_of(command), run_name="__main__")
    return 0


def steps_for(paths: LocalPaths, command: str, options: Sequence[str]) -> list[Step]:
    """The steps that a command needs; `setup --models` fetches the language models too."""
    if command in _NEEDS:
        return [step(paths) for step in _NEEDS[command]]
    models = weights_steps(paths) if command == "setup" and "--models" in options else []
    return [*runtime_steps(paths), *models]


def _module_of(command: str) -> str:
    if command == "models":
        return "scripts.cloud.catalog.models"
    return f"scripts.cloud.{command}" if command in _CLOUD else f"scripts.local.commands.{command}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
