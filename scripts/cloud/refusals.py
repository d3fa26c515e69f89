"""How often models refused during a check, by code: read from the Worker's log, as `wrangler tail` or a file has it."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from scripts.cloud.wrangler import Wrangler
from scripts.local.errors import LocalError
from scripts.local.paths import local_paths
from scripts.local.processes import end_group

# In the log itself, and within wrangler's JSON, where every quote is escaped.
_REFUSAL = re.compile(r'\\*"event\\*": \\*"model_refused\\*", \\*"code\\*": (\d+)')
_WORKERS_DEV = ".workers.dev"
_CONNECT_SECONDS, _LAST_LINES_SECONDS = 5.0, 3.0


@dataclass(slots=True)
class RefusalCount:
    """Refusals by code; `source` says where they were read, nothing where nobody could."""

    source: str = ""
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        self.counts.update(int(code) for code in _REFUSAL.findall(text))

    def sentence(self) -> str:
        if not self.source:
            return "not counted: give --log FILE, or log wrangler in so that it can follow the Worker's log"
        found = ", ".join(f"{code}: {count}" for code, count in sorted(self.counts.items())) or "none"
        return f"{found} (from {self.source})"


@contextmanager
def counted_refusals(url: str, log: Path | None) -> Iterator[RefusalCount]:
    """Counts what is logged while the block lasts; call `RefusalCount.sentence` after it."""
    if log is not None:
        count = RefusalCount(str(log))
        before = log.stat().st_size
        yield count
        with log.open("rb") as file:
            file.seek(before)
            count.add(file.read().decode(errors="replace"))
        return
    with tempfile.TemporaryFile() as output:
        process = _followed(url, output)
        if process is None:
            yield RefusalCount()
            return
        time.sleep(_CONNECT_SECONDS)
        count = RefusalCount("wrangler tail")
        try:
            yield count
            time.sleep(_LAST_LINES_SECONDS)
        finally:
            end_group(process)
        output.seek(0)
        count.add(output.read().decode(errors="replace"))


def _followed(url: str, output: IO[bytes]) -> subprocess.Popen[bytes] | None:
    """wrangler, following the log of the Worker at that address; None where it is no Worker's, or not logged in."""
    host = urlsplit(url).hostname or ""
    if not host.endswith(_WORKERS_DEV):
        return None
    wrangler = Wrangler(local_paths())
    try:
        wrangler.token()
    except LocalError:
        return None
    return wrangler.start(
        "tail", host.partition(".")[0], "--format", "json", "--search", "model_refused", output=output
    )
