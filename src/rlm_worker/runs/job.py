"""What a session is given to run."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from rlm_worker.budget.funding import UNLIMITED_USD
from rlm_worker.wire.base import Wire
from rlm_worker.wire.requests import RunConfig
from rlm_worker.wire.routing import Routing, Task
from rlm_worker.wire.strategies import StrategyName
from rlm_worker.wire.tables import TableOptions

from .conversation import Conversation


class TaskChoice(Wire):
    """What rules choose where a query has some task, each model by its id."""

    strategy: StrategyName
    root_model: str
    sub_model: str
    routing: Routing
    chains: dict[str, list[str]] = Field(default_factory=dict)


class Job(Wire):
    """A validated request on its way to its session: models resolved to ids, the context measured and placed.

    `batch_id` names the batch whose item it is; empty for a request of its own. `chains` are the fallbacks that a rule
    has named, by the models that they stand in for; `by_task` is what rules choose for each task, where `task_model` is
    to tell it. `judge_named`: a caller has named the judge, as far as is known. What another version has added is let
    be: a session outlives its code.
    """

    model_config = ConfigDict(extra="ignore")

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
    instructions: str | None = None
    stream: bool = False
    cancel_on_disconnect: bool = False
    deadline: float | None = None
    started_at: float = 0.0
    run_id: str = ""
    granted_usd: float = UNLIMITED_USD
    table: TableOptions | None = None
    routing: Routing | None = None
    chains: dict[str, list[str]] = Field(default_factory=dict)
    task_model: str = ""
    by_task: dict[Task, TaskChoice] = Field(default_factory=dict)
    conversation: Conversation | None = None
    judge_named: bool = True

    @property
    def previous_session_id(self) -> str | None:
        """The session that this one follows; None where it stands by itself."""
        return None if self.conversation is None else self.conversation.session_id
