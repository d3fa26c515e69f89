"""`python -m tests.bench [NAME…]` prints the tables: all of them, or those that are named."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from scripts.local.paths import local_paths
from scripts.local.processes import termination_raises
from tests.bench.environment import peer_environment, prepare_peers


def chunking() -> None:
    """In the peers' environment, where the splitters are."""
    command = [str(prepare_peers()), "-m", "tests.bench.chunking"]
    print("\nChunking on CPython", flush=True)
    subprocess.run(command, check=False, cwd=local_paths().root, env=peer_environment())


def _tables(name: str) -> Callable[[], None]:
    def show() -> None:
        for table in import_module(f"tests.bench.{name}").tables():
            print(table, flush=True)

    return show


_TABLES = ("in_workerd", "orchestration", "scaling", "fan_out", "cache_hit", "repl", "quotes")
BENCHES: dict[str, Callable[[], None]] = {
    "chunking": chunking,
    **{name: _tables(name) for name in _TABLES},
}


def main(names: Sequence[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()} on {platform.machine()}; all figures from this machine and this run")
    with termination_raises():
        for name in names or BENCHES:
            BENCHES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
