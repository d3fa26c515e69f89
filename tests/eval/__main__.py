"""`python -m tests.eval`: compares prompts on a real model; stopped and started again it goes on where it was."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.local.runtime.deployment import free_port

from .chat import ChatServer
from .evaluation import Plan, evaluate, table
from .journal import Results
from .suites import SUITES
from .variants import VARIANTS

_ROOT = Path(__file__).resolve().parents[2]
_RESULTS = Path(__file__).parent / ".results" / "prompts.jsonl"
_LOCAL = {"smollm2-135m": "smollm2-135m-instruct-q4_1", "qwen2.5-1.5b": "qwen2.5-coder-1.5b-instruct-q4_k_m"}
_WINDOW = 4096


def main() -> None:
    options = _options()
    results = Results(options.results)
    plan = Plan(
        options.task,
        options.model,
        options.suite or list(SUITES),
        options.variant or list(VARIANTS),
        options.n,
        options.characters,
        options.seed,
    )
    if not options.table and any(key not in results for key in plan.measurements()):
        with _served(options) as server:
            evaluate(plan, server, results, options.minutes * 60)
    sys.stdout.write(table(results) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument("--task", choices=("read", "answer", "final"), default="read")
    parser.add_argument("--model", default="smollm2-135m", help=f"{', '.join(_LOCAL)}, or what --url has")
    parser.add_argument("--url", help="base URL of a server of OpenAI's shape, instead of a local model")
    parser.add_argument("--key-env", default="", help="the variable that holds the key of --url")
    parser.add_argument("--suite", action="append", choices=tuple(SUITES))
    parser.add_argument("--variant", action="append", choices=tuple(VARIANTS))
    parser.add_argument("-n", type=int, default=20, help="cases of each suite")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after that many")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--characters", type=int, default=1_500)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    parser.add_argument("--table", action="store_true", help="only print what is known")
    return parser.parse_args()


@contextmanager
def _served(options: argparse.Namespace) -> Iterator[ChatServer]:
    """The server at --url, or a local model for as long as the block lasts."""
    if options.url:
        yield ChatServer(options.url.rstrip("/"), options.model, options.key_env)
        return
    with served_model(options.model) as server:
        yield server


@contextmanager
def served_model(model: str) -> Iterator[ChatServer]:
    """A local model for as long as the block lasts."""
    file, port = _ROOT / ".local" / "models" / f"{_LOCAL[model]}.gguf", free_port(0)
    spec = {"file": str(file), "port": port, "names": [model], "slots": 1, "window": _WINDOW}
    command = [sys.executable, "-m", "scripts.local.models.model_server", json.dumps([spec])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=_ROOT) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process)
            yield ChatServer(f"{url}/v1", model)
        finally:
            process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit("the model server ended before it was ready")


if __name__ == "__main__":
    main()
