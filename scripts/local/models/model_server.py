"""Serves the local language models, each on its own port, until stdin ends: `model_server CONFIG`.

CONFIG is a JSON list of {"file", "port", "names", "slots", "window"}: a GGUF file, the model ids that it answers to,
how many prompts it reads at once and how many tokens each may have. Prints one line `loaded FILE` for each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xllamacpp

_MAX_ANSWER_TOKENS = 2048
_PROMPT_CACHE_MIB = 512
_MAX_THREADS = 8


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; stdin tells when to end
    specs = json.loads(sys.argv[1])
    with ThreadPoolExecutor(len(specs)) as pool:
        servers = list(pool.map(_serve, specs))
    sys.stdin.read()
    sys.stdout.flush()
    # The servers' threads need no farewell, and the interpreter's own end would wait for a prompt that is being read.
    os._exit(0 if servers else 1)


def _serve(spec: Mapping[str, object]) -> xllamacpp.Server:
    server = xllamacpp.Server(_parameters(spec))
    print(f"loaded {Path(str(spec['file'])).name}", flush=True)
    return server


def _parameters(spec: Mapping[str, object]) -> xllamacpp.CommonParams:
    slots, window = int(str(spec["slots"])), int(str(spec["window"]))
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(spec["file"])
    parameters.model_alias = set(json.loads(json.dumps(spec["names"])))
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(str(spec["port"]))
    parameters.n_parallel = slots
    parameters.n_ctx = slots * window
    parameters.n_predict = _MAX_ANSWER_TOKENS
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.offline = True
    parameters.ui = False
    return parameters


if __name__ == "__main__":
    main()
