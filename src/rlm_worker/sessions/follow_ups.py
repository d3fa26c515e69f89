"""What a session hands on to one that follows it: the turns so far, its config, and its context.

Each session owns what it reads: a text that was sent with a request is copied for the follow-up, so that either session
may be deleted, or grow old, by itself. A context that was put is read where it lies, by both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import ConfigDict, Field

from rlm_worker.errors import InvalidRequest, NotFound
from rlm_worker.memory import MIB
from rlm_worker.ports import ContextStore, ObjectStubs
from rlm_worker.runs.conversation import MAX_FOLLOW_UPS, Conversation, Turn, continued
from rlm_worker.runs.job import Job
from rlm_worker.text.context import RANGE_BYTES, ContextManifest, StoredReader
from rlm_worker.wire.base import Wire
from rlm_worker.wire.requests import RunConfig
from rlm_worker.wire.results import RunResult

from .contexts import stored_manifest

# What is read, and the store's part that is being written, in Python and in JavaScript.
COPYING_BYTES = 12 * MIB
_NO_SESSION = "there is no session to follow: it was deleted, has expired or never was; send the context again"
_NO_CONTEXT = "the context of the session to follow was deleted or has expired; send it again"


@dataclass(frozen=True, slots=True)
class StoredParts:
    """The bytes of a context that is stored for another session, range by range, as often as they are asked for."""

    reader: StoredReader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = self.reader.manifest.bytes
        try:
            for start in range(0, size, RANGE_BYTES):
                yield await self.reader.read(start, min(size, start + RANGE_BYTES))
        except NotFound:  # its session was deleted meanwhile
            raise NotFound(_NO_CONTEXT) from None


Parts: TypeAlias = Iterable[bytes] | StoredParts


_CHOICES = ("strategy", "root_model", "sub_model")
_JUDGE = "relevance"


class Followed(Wire):
    """A session that has ended, as one that follows it needs it.

    `chosen` is what of its config no caller has named: rules, or the deployment's defaults, choose it anew.
    """

    model_config = ConfigDict(extra="ignore")

    conversation: Conversation
    config: RunConfig
    manifest: str
    context_text: str | None = None
    context_key: str | None = None
    context_owned: bool = True
    chosen: list[str] = Field(default_factory=list)

    @property
    def named(self) -> frozenset[str]:
        """What of strategy, models and judge a caller has named."""
        return frozenset((*_CHOICES, _JUDGE)) - frozenset(self.chosen)

    def config_for(self, defaults: RunConfig) -> RunConfig:
        """The config of one that follows, as far as that names nothing itself."""
        return self.config.model_copy(update={name: getattr(defaults, name) for name in self.chosen})

    @classmethod
    def of(cls, job: Job, result: RunResult, *, has_repl: bool) -> Followed:
        failure = result.error.type if result.error else ""
        last = Turn(question=job.query, answer=result.answer if result.success else None, failure=failure)
        return cls(
            conversation=continued(job.conversation, job.session_id, last, has_repl=has_repl),
            config=job.config,
            manifest=job.manifest,
            context_text=job.context_text,
            context_key=job.context_key,
            context_owned=job.context_owned,
            chosen=_chosen(job),
        )


def _chosen(job: Job) -> list[str]:
    """What no caller has named; of a job of an earlier version nobody knows."""
    by = job.routing.chosen_by if job.routing is not None else None
    unnamed = [] if by is None else [name for name in _CHOICES if getattr(by, name) != "request"]
    return unnamed if job.judge_named else [*unnamed, _JUDGE]


async def followed_session(sessions: ObjectStubs, session_id: str, owner: str) -> Followed:
    """What a session hands on; raises `NotFound`, as for one of another key, and `Conflict` while it goes on."""
    try:
        found = Followed.model_validate(await sessions.call(session_id, "followed", owner))
    except NotFound:
        raise NotFound(_NO_SESSION) from None
    if found.conversation.asked > MAX_FOLLOW_UPS:
        raise InvalidRequest.at(
            "previousSessionId", f"a question may have {MAX_FOLLOW_UPS} follow-ups: begin anew with the context"
        )
    return found


async def handed_on(
    followed: Followed, store: ContextStore, *, kept_since: float
) -> tuple[ContextManifest, Parts, str | None]:
    """The table of the context, its bytes where the follow-up needs some of its own, and where it lies else.

    Raises `NotFound` where it is there no more.
    """
    if followed.context_key is not None and not followed.context_owned:
        try:
            return await stored_manifest(followed.context_key, store, kept_since=kept_since), [], followed.context_key
        except NotFound:
            raise NotFound(_NO_CONTEXT) from None
    manifest = ContextManifest.from_json(followed.manifest)
    if followed.context_key is not None:
        return manifest, StoredParts(StoredReader(manifest, store, followed.context_key)), None
    return manifest, [(followed.context_text or "").encode()], None
