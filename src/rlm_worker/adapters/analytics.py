"""The `Metrics` port on Analytics Engine."""

from __future__ import annotations

from typing import Any

from rlm_worker.log import log_error
from rlm_worker.ports import MetricsPoint

from .bindings import binding

# An index may have 96 bytes.
_INDEX_BYTES = 96


class AnalyticsEngine:
    """Writes one point for each finished request to `RLM_ANALYTICS`; ops rely on the order of the columns."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def record(self, point: MetricsPoint) -> None:
        dataset = binding(self._env, "RLM_ANALYTICS")
        if dataset is None:
            return
        cache = "hit" if point.cache_hit else "miss"
        blobs = [point.session_id, point.status, point.strategy, point.root_model, point.sub_model, cache]
        index = point.key_name.encode()[:_INDEX_BYTES].decode(errors="ignore")
        try:
            dataset.writeDataPoint(
                {"indexes": [index], "blobs": [*blobs, point.error_type], "doubles": list(point.values)}
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, a request is not worth failing for a number
            log_error("analytics", error)
