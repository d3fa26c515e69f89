"""The peers of tests/bench/repl.py, in an interpreter that has them: `python repl_peers.py NAME URL`.

Each line on stdin is a run, `{"context"}`; each answer on stdout is `{"seconds"}`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module

QUERY = "What is said?"
Run = Callable[[str], object]


def rlms(url: str) -> Run:
    """rlms with its `local` environment, which runs the code in its own process."""
    module = import_module("rlm")
    settings = {"model_name": "root", "base_url": f"{url}/v1", "api_key": "none"}

    def run(context: str) -> object:
        rlm = module.RLM(backend="openai", backend_kwargs=settings, environment="local", max_iterations=40)
        return rlm.completion(context, root_prompt=QUERY)

    return run


def dspy(url: str) -> Run:
    """dspy.RLM with its default interpreter: Pyodide in Deno."""
    module = import_module("dspy")
    model = module.LM("openai/root", api_base=f"{url}/v1", api_key="none", cache=False)
    module.configure(lm=model)

    def run(context: str) -> object:
        return module.RLM("context, query -> answer", max_iters=40, max_llm_calls=500)(context=context, query=QUERY)

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
