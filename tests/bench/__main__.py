"""`python -m tests.bench [NAME…] [--minute SECONDS]` prints the tables: all of them, or those that are named."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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


def pace(minute: float = 60.0) -> None:
    """Takes a quarter of an hour where a minute lasts as long as it does on the platform."""
    for table in import_module("tests.bench.pace").tables(minute):
        print(table, flush=True)


_TABLES = ("in_workerd", "orchestration", "scaling", "fan_out", "cache_hit", "repl", "quotes", "table")
BENCHES: dict[str, Callable[[], None]] = {
    "chunking": chunking,
    "pace": pace,
    **{name: _tables(name) for name in _TABLES},
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Measures, and prints the tables.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minute", type=float, default=60.0, help="seconds of the minute in which `pace` counts")
    wanted = parser.parse_args(arguments)
    return _run(wanted.names, {**BENCHES, "pace": lambda: pace(wanted.minute)})


def _run(names: Sequence[str], benches: Mapping[str, Callable[[], None]]) -> int:
    unknown = [name for name in names if name not in benches]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(benches)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()} on {platform.machine()}; all figures from this machine and this run")
    with termination_raises():
        for name in names or benches:
            benches[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
