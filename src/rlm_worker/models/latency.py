"""How long the calls of a run take, learned from those that were answered."""

from __future__ import annotations

from rlm_worker.messages import Role

# Slower calls are believed at once, quicker ones bit by bit: what waits for an answer should not wait in vain.
_DESCENT = 0.1
# The root model is larger than a sub-model and writes more.
_ROOT_BY_SUB = 1.5


class Latency:
    """Seconds that a call takes at the slower end, for each role."""

    def __init__(self) -> None:
        self._seconds: dict[Role, float] = {}

    def observe(self, role: Role, seconds: float) -> None:
        known = self._seconds.get(role, 0.0)
        self._seconds[role] = max(seconds, known + (seconds - known) * _DESCENT)

    def expected(self, role: Role) -> float:
        """Seconds that the next call of that role may take; 0 while nothing is known."""
        known = self._seconds.get(role, 0.0)
        return max(known, self._seconds.get("sub", 0.0) * _ROOT_BY_SUB) if role == "root" and not known else known
