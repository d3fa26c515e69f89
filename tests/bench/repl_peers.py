"""The peers of tests/bench/repl.py, in an interpreter that has them: `python repl_peers.py NAME URL`.

Each line on stdin is a run, `{"context"}`; each answer on stdout is `{"seconds"}`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

QUERY = "What is said?"
# Stands in for what Deno would fetch from a host of its own.
_IMPORTS = Path(__file__).parent / "deno" / "imports.json"
Run = Callable[[str], object]


def rlms(url: str) -> Run:
    """rlms with its `local` environment, which runs the code in its own process."""
    module = import_module("rlm")
    settings = {"model_name": "root", "base_url": url, "api_key": "none"}

    def run(context: str) -> object:
        rlm = module.RLM(backend="openai", backend_kwargs=settings, environment="local", max_iterations=40)
        return rlm.completion(context, root_prompt=QUERY)

    return run


def dspy(url: str) -> Run:
    """dspy.RLM with its default interpreter: Pyodide in Deno, a process of its own for each run."""
    module, interpreters = import_module("dspy"), import_module("dspy.primitives.python_interpreter")
    module.configure(lm=module.LM("openai/root", api_base=url, api_key="none", cache=False))
    deno, verb, *options = interpreters.PythonInterpreter().deno_command
    command = [deno, verb, f"--import-map={_IMPORTS}", *options]

    def interpreter() -> object:
        return interpreters.PythonInterpreter(deno_command=command)

    def run(context: str) -> object:
        settings = {"max_iters": 40, "max_llm_calls": 500, "interpreter_factory": interpreter}
        return module.RLM("context, query -> answer", **settings)(context=context, query=QUERY)

    return run


def main(name: str, url: str) -> None:
    run = (rlms if name.startswith("rlms") else dspy)(url)
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        context = json.loads(line)["context"]
        started = time.perf_counter()
        run(context)
        print(json.dumps({"seconds": time.perf_counter() - started}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
