"""Contexts of 1, 10 and 100 MB: time per MB and workerd's peak memory."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from tests.bench.constant_model import constant_model
from tests.bench.deployment import Measured, deployed
from tests.bench.tables import Table
from tests.bench.texts import MEGABYTE

SIZES = (1, 10, 100)
_EVERYTHING = 9_000
_DEFAULT = 100
# Megabytes that are uploaded and that are read, whatever the size. JavaScript's collectors, also those of the stand-ins
# for R2 and AI, come by when they like, so the process grows with what it has done: equal work shows what size adds.
_UPLOADED, _READ = 100, 300
_MAX_REQUESTS = 100  # a minute has room for 300


@dataclass(frozen=True, slots=True)
class Size:
    """What a context of some megabytes took: its upload, and runs with one limit on sub-calls."""

    megabytes: int
    most: int
    upload: Measured
    runs: list[Measured]

    @property
    def wall(self) -> float:
        """Milliseconds a megabyte, median."""
        return median(run.seconds for run in self.runs) * 1000 / self.megabytes

    @property
    def cpu(self) -> float:
        """Milliseconds of workerd's CPU a megabyte, median."""
        return median(run.cpu for run in self.runs) * 1000 / self.megabytes

    @property
    def peak(self) -> float:
        return max(run.peak for run in self.runs)


def tables() -> list[Table]:
    """Everything read, and the most relevant part with the default number of sub-calls."""
    return [_table([measure(size, most) for size in SIZES]) for most in (_EVERYTHING, _DEFAULT)]


def measure(megabytes: int, most: int) -> Size:
    """In a deployment of its own, so that its memory is this size's; the runs share it, warm."""
    with constant_model() as model, deployed(model.url) as worker:
        warm, _ = worker.upload(MEGABYTE, seed=2)
        worker.ask(warm, maxSubCalls=most, useCache=False)
        uploads = [worker.upload(megabytes * MEGABYTE, seed=3 + n) for n in range(_times(_UPLOADED, megabytes))]
        context, upload = uploads[-1]
        runs = [worker.ask(context, maxSubCalls=most, useCache=False) for _ in range(_times(_READ, megabytes))]
    return Size(megabytes, most, upload, runs)


def _times(total: int, megabytes: int) -> int:
    return min(_MAX_REQUESTS, total // megabytes)


def _table(sizes: list[Size]) -> Table:
    most = sizes[0].most
    columns = (
        "context",
        "sub-calls",
        "coverage",
        "ms/MB",
        "x 10 MB",
        "CPU ms/MB",
        "x 10 MB",
        "peak MB",
        "upload ms/MB",
    )
    title = "reads everything" if most == _EVERYTHING else "the default, the most relevant part"
    table = Table(f"Scaling, maxSubCalls {most:,}: {title}", columns)
    ten = sizes[1]
    for size in sizes:
        run = size.runs[0]
        table.add(
            f"{size.megabytes} MB",
            f"{run.number('subCalls'):.0f}",
            f"{run.number('coverage'):.0%}",
            f"{size.wall:.1f}",
            f"{size.wall / ten.wall:.2f}",
            f"{size.cpu:.1f}",
            f"{size.cpu / ten.cpu:.2f}",
            f"{size.peak:.0f}",
            f"{size.upload.seconds * 1000 / size.megabytes:.1f}",
        )
    growth = f"workerd's peak memory from 10 to 100 MB: {sizes[-1].peak - ten.peak:+.0f} MB (promised: below 64)"
    table.notes = [f"after {_UPLOADED} MB of uploads and {_READ} MB of runs each (1 MB: a third); {growth}"]
    return table
