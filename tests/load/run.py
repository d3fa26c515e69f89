"""One load run: the deployment, its callers, its memory, and the sums afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.load.callers import Caller, Record
from tests.load.model import Cashier, forget_texts

CENT = 0.01
_SAMPLE_SECONDS = 2.0
# Longer than fifty callers at once keep any answer waiting.
_TIMEOUT_SECONDS = 10.0
# Before that long the heap still grows into what fifty callers at once need.
_SETTLED_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has shown; money in US dollars, memory in MB of workerd, sampled in even steps.

    `results_usd` and `billed_usd` are of the results that are not marked as estimates: these are to be exact.
    `given_up_usd` is what the others' results say of the calls that were given up, and the most that these can have
    cost. `calls` counts all that the model was asked, those that were answered with nothing, and those given up.
    """

    requests: int
    seconds: float
    statuses: dict[tuple[str, int], int]
    wrong: list[str]
    unaccounted: list[str]
    results_usd: float
    billed_usd: float
    given_up_usd: tuple[float, float]
    unmarked: list[str]
    calls: tuple[int, int, int]
    booked_usd: float
    all_billed_usd: float
    runs_left: int
    memory: list[float]
    latencies: tuple[float, float]

    @property
    def server_errors(self) -> int:
        return sum(count for (_, status), count in self.statuses.items() if status >= 500)

    @property
    def memory_drift(self) -> float:
        """How far the last third's median lies above the middle third's, as a share of it."""
        third = len(self.memory) // 3
        middle, last = statistics.median(self.memory[third : 2 * third]), statistics.median(self.memory[2 * third :])
        return last / middle - 1

    def problems(self) -> list[str]:
        """Everything that breaks a promise; empty where all are kept."""
        found = [*self.wrong[:10], *self.unaccounted[:10]]
        found += [f"the result of {mark} hides that a call was given up" for mark in self.unmarked[:10]]
        if self.server_errors:
            found.append(f"{self.server_errors} answers of 500 and above")
        if abs(self.results_usd - self.billed_usd) >= CENT / 2:
            found.append(f"results cost {self.results_usd:.6f}, the model's log says {self.billed_usd:.6f}")
        estimated, at_most = self.given_up_usd
        if not 0.7 * at_most <= estimated <= 1.3 * at_most:
            found.append(f"timed-out calls count as {estimated:.6f}, and can have cost {at_most:.6f}")
        if self.booked_usd < self.all_billed_usd - CENT / 2:
            found.append(f"booked {self.booked_usd:.6f}, and the model's log says {self.all_billed_usd:.6f}")
        if self.runs_left:
            found.append(f"{self.runs_left} runs still hold a slot")
        if self.seconds >= _SETTLED_SECONDS and abs(self.memory_drift) > 0.1:
            found.append(f"memory drifted by {self.memory_drift:.1%}")
        return found


async def run_load(folder: Path, *, minutes: float, callers: int, seed: int = 7) -> Outcome:
    """Serves the Worker in `folder` and loads it; the same seed mixes the same requests."""
    cashier = Cashier()
    secrets = [f"load-key-{number}" for number in range(callers)]
    keys = ",".join(f"k{number}:{hashlib.sha256(key.encode()).hexdigest()}" for number, key in enumerate(secrets))
    variables = {"RLM_API_KEYS": keys, "KEY_DAILY_USD": "1000", "KEY_CONCURRENT_RUNS": "4"}
    variables |= {"MODEL_TIMEOUT_SECONDS": str(_TIMEOUT_SECONDS)}
    with ScriptedModel() as model:
        model.rules, model.latency, model.faults = [cashier.rule], 0.02, cashier.faults()
        with DevProcess(folder, ai=model.url, variables=variables, inspector=False) as worker:
            return await _loaded(worker, model, cashier, secrets, seconds=minutes * 60, seed=seed)


async def _loaded(
    worker: DevProcess, model: ScriptedModel, cashier: Cashier, secrets: Sequence[str], *, seconds: float, seed: int
) -> Outcome:
    record, started = Record(), time.monotonic()
    memory: list[float] = []
    clients = [_client(worker.url, secret) for secret in secrets]
    until = started + seconds
    crowd = [
        Caller(number, client, record, until, random.Random(f"{seed} {number}"))
        for number, client in enumerate(clients)
    ]
    watching = asyncio.create_task(_watch(worker, model, memory))
    await asyncio.gather(*(caller.work() for caller in crowd))
    lasted = time.monotonic() - started
    watching.cancel()
    unaccounted = await _unaccounted(clients, record)
    accounts = [(await client.get("/health")).json()["account"] for client in clients]
    for client in clients:
        await client.aclose()
    return Outcome(
        requests=len(record.seconds),
        seconds=lasted,
        statuses=dict(record.statuses),
        wrong=record.wrong,
        unaccounted=unaccounted,
        results_usd=sum(usd for mark, usd in record.results.items() if mark not in record.estimated),
        billed_usd=sum(cashier.bills[mark] for mark in record.results if mark not in record.estimated),
        given_up_usd=_given_up(cashier, record),
        unmarked=[mark for mark in record.results if mark in cashier.given_up and mark not in record.estimated],
        calls=(cashier.calls, cashier.empty, len(cashier.given_up)),
        booked_usd=sum(account["spentTodayUsd"] for account in accounts),
        all_billed_usd=sum(cashier.bills.values()),
        runs_left=sum(account["runs"] for account in accounts),
        memory=memory,
        latencies=_latencies(record.seconds),
    )


def _given_up(cashier: Cashier, record: Record) -> tuple[float, float]:
    """What results that are marked as estimates say of calls given up, and the most that these can have cost."""
    told = sum(record.results[mark] - cashier.bills[mark] for mark in record.estimated)
    return told, sum(cashier.given_up[mark] for mark in record.estimated)


def _client(url: str, secret: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=120, headers={"authorization": f"Bearer {secret}"})


async def _watch(worker: DevProcess, model: ScriptedModel, memory: list[float]) -> None:
    while True:
        await asyncio.sleep(_SAMPLE_SECONDS)
        memory.append(_resident_megabytes(worker.workerd_pid))
        forget_texts(model)


def _resident_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


async def _unaccounted(clients: Sequence[httpx.AsyncClient], record: Record) -> list[str]:
    """Sessions that are neither completed nor deleted, as their own status says."""
    wanted = [(mark, session, "completed") for session, mark in record.sessions.items()]
    wanted += [(mark, session, "not_found") for mark, session in record.cancelled.items()]
    limit = asyncio.Semaphore(20)

    async def check(mark: str, session: str, expected: str) -> str | None:
        async with limit:
            client = clients[int(mark.split("-")[1])]
            answer = (await client.get(f"/session/{session}/status")).json()
        found = answer.get("status") or answer["error"]["type"]
        return None if found == expected else f"session of {mark}: {found}, not {expected}"

    return [problem for problem in await asyncio.gather(*(check(*row) for row in wanted)) if problem]


def _latencies(seconds: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
