"""When to try again, and how long to wait before.

Repeated is only what cannot be paid twice: calls that change nothing, runs that the Worker knows again (by their
idempotency key, or else by the digest of the request), and calls that never reached it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from rlm_client._calls import Call
from rlm_client._responses import retry_after

_UNAVAILABLE, _TOO_MANY = httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS

# Raised before a byte of the request was sent.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently; delays are in seconds.

    `attempts` is how often a call is made in all; `resumptions` how often in a row a run's event stream is taken up
    again without a new event: longer, because a run that has begun is worth waiting for.
    """

    attempts: int = 4
    resumptions: int = 8
    first_delay: float = 0.5
    longest_delay: float = 60.0
    jitter: Callable[[], float] = random.random

    def after_error(self, error: httpx.RequestError, call: Call, failures: int) -> float | None:
        """Return how long to wait after the connection failed, or None to give up; `failures` were before it."""
        timed_out = isinstance(error, httpx.ReadTimeout)
        safe = isinstance(error, _NEVER_SENT) or (call.repeatable and not timed_out)
        return self.backoff(failures) if safe else None

    def after_response(self, response: httpx.Response, call: Call, failures: int) -> float | None:
        """Return how long to wait before asking again, or None when the response is to be taken as it is."""
        asked = retry_after(response)
        busy = response.status_code == _UNAVAILABLE or (response.status_code == _TOO_MANY and asked is not None)
        if not busy or not call.repeatable or (asked or 0.0) > self.longest_delay:
            return None
        pause = self.backoff(failures)
        return None if pause is None else max(pause, asked or 0.0)

    def backoff(self, failures: int) -> float | None:
        """Return the delay before a call is repeated, or None when all attempts are used."""
        return self.delay(failures) if failures + 1 < self.attempts else None

    def delay(self, failures: int) -> float:
        """Return an exponential delay with jitter, half of it to all of it."""
        return min(self.longest_delay, self.first_delay * 2.0**failures) * (0.5 + self.jitter() / 2)
