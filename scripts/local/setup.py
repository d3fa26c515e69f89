"""Between the bare environment and a command: `setup [MODULE [ARGUMENT…]]` prepares what MODULE needs and runs it.

Imports the standard library only, because the tools are what it installs first.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from scripts.local.errors import LocalError
from scripts.local.parts import runtime_steps, tools_step
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import termination_raises
from scripts.local.steps import Step, ensure, say
from scripts.local.weights import weights_steps

# These talk to no Worker on this machine.
_NEEDS_TOOLS_ONLY = frozenset({"check", "usage"})


def main(arguments: Sequence[str]) -> int:
    module = arguments[0] if arguments else "setup"
    try:
        with termination_raises():
            ensure(local_paths(), steps_for(local_paths(), module, arguments[1:]))
    except LocalError as error:
        print(error.report(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("ended")
        return 130
    if module == "setup":
        say("everything is prepared: ./scripts/demo, ./scripts/dev and ./scripts/test start in seconds")
        return 0
    sys.argv = [f"scripts/{module}", *arguments[1:]]
    runpy.run_module(f"scripts.local.{module}", run_name="__main__")
    return 0


def steps_for(paths: LocalPaths, module: str, options: Sequence[str]) -> list[Step]:
    """The steps that a command needs; `setup --models` fetches the language models too."""
    if module in _NEEDS_TOOLS_ONLY:
        return [tools_step(paths)]
    models = weights_steps(paths) if module == "setup" and "--models" in options else []
    return [*runtime_steps(paths), *models]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
