"""Every route against its own contract: schemathesis derives requests from /openapi.json and checks what comes back."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel

pytestmark = [pytest.mark.worker, pytest.mark.slow]

FRONT = Path(__file__).with_name("faulty_entry.py")
CONFIG = Path(__file__).with_name("schemathesis.toml")
KEY = "fuzzing"
# More for a longer look: RLM_FUZZ_EXAMPLES=500 ./scripts/test tests/worker/test_fuzz.py
EXAMPLES = os.environ.get("RLM_FUZZ_EXAMPLES", "20")


@pytest.fixture(scope="module")
def unbraked(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """A deployment with a key and without the brake, which would refuse most of what is tried."""
    variables = {
        "RLM_API_KEYS": f"fuzzer:{hashlib.sha256(KEY.encode()).hexdigest()}",
        "KEY_DAILY_USD": "0",
        "KEY_CONCURRENT_RUNS": "0",
        "MODEL_BACKOFF_SECONDS": "0.01",
    }
    folder = tmp_path_factory.mktemp("fuzz")
    with DevProcess(folder, ai=scripted_server.url, variables=variables, front=FRONT) as process:
        httpx.put(f"{process.url}/faults", json={"RLM_RATE_LIMITER": {"mode": "absent"}})
        yield process


def test_contract_holds(unbraked: DevProcess, scripted: ScriptedModel, tmp_path: Path) -> None:
    command = [
        *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG),
        *("run", f"{unbraked.url}/openapi.json", "--suppress-health-check", "all"),
        *("--checks", "all", "--max-examples", EXAMPLES, "--header", f"Authorization: Bearer {KEY}"),
        # One thread: Python 3.11 keeps one recursion depth of `ast.parse` for all, and Hypothesis calls it.
        *("--seed", "7", "--workers", "1", "--request-timeout", "60", "--continue-on-failure"),
    ]
    done = subprocess.run(
        [str(part) for part in command], cwd=tmp_path, capture_output=True, text=True, timeout=1_800, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-60_000:] + done.stderr[-2_000:]
    assert "internal_error" not in unbraked.log()
