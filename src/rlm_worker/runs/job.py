"""What a session is given to run."""

from __future__ import annotations

from pydantic import model_validator

from rlm_worker.budget.funding import UNLIMITED_USD
from rlm_worker.wire.base import Wire
from rlm_worker.wire.requests import RunConfig

_NO_LONGER_READ = frozenset({"labels"})


class Job(Wire):
    """A validated request on its way to its session: models resolved to ids, the context measured and placed.

    `batch_id` names the batch whose item it is; empty for a request of its own.
    """

    session_id: str
    owner: str
    digest: str
    batch_id: str = ""
    named_by_key: bool = False
    query: str
    config: RunConfig
    manifest: str
    context_text: str | None = None
    context_key: str | None = None
    context_owned: bool = True
    response_schema: dict[str, object] | None = None
    stream: bool = False
    cancel_on_disconnect: bool = False
    deadline: float | None = None
    started_at: float = 0.0
    run_id: str = ""
    granted_usd: float = UNLIMITED_USD

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, written: object) -> object:
        """A session that was begun by an earlier version goes on: what that wrote and nobody reads is dropped."""
        if isinstance(written, dict):
            return {name: value for name, value in written.items() if name not in _NO_LONGER_READ}
        return written
