"""The `Clock` port: the platform's time, which moves only while something waits for I/O."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Seconds since the epoch."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
