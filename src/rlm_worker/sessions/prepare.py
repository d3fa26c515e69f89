"""From a validated request to a job: models resolved, context measured and placed, session named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from rlm_worker.errors import BindingMissing, FieldProblem, InvalidRequest, NotFound, PayloadTooLarge
from rlm_worker.ports import ContextStore
from rlm_worker.repl.prompts import REPL_PROMPT_VERSION
from rlm_worker.routing.decide import Decision, Question, Router
from rlm_worker.runs.conversation import CONVERSATION_VERSION, Conversation
from rlm_worker.runs.job import Job, TaskChoice
from rlm_worker.settings import Settings
from rlm_worker.strategies.prompts import PROMPT_VERSION
from rlm_worker.structured.form import check_schema
from rlm_worker.structured.words import FORM_VERSION
from rlm_worker.text.context import ContextManifest, MeasuredDocuments, gather_documents
from rlm_worker.wire.requests import Document, RunConfig, RunRequest, with_defaults
from rlm_worker.wire.routing import Task

from .bodies import SentTexts
from .contexts import check_names, oldest_kept, session_prefix, stored_context_key, stored_manifest
from .follow_ups import Followed, Parts, StoredParts, handed_on

# Longer contexts are kept in R2 and read by ranges.
INLINE_CHARACTERS = 100_000
_MAX_KEY_CHARACTERS = 255
_MAX_SCHEMA_CHARACTERS = 32_000
# What does not change the answer does not change the session's name.
_IRRELEVANT = frozenset({"use_cache", "routing"})
_CAME_LATER = ("reasoning_effort", "relevance")


# What a job has just as its request has it.
_AS_ASKED = ("response_schema", "instructions", "stream", "cancel_on_disconnect", "table")


async def prepare_job(
    request: RunRequest,
    owner: str,
    settings: Settings,
    store: ContextStore,
    idempotency_key: str | None,
    *,
    now: float,
    texts: SentTexts | None = None,
    followed: Followed | None = None,
) -> tuple[Job, Parts]:
    """The job of a request, and the bytes to store where its context does not travel with it.

    `texts` are the context of a request that does not hold its own, read block by block; `followed` is what the session
    hands on that the request follows.
    `now` is in seconds since the epoch: a context that was put too long before is not there any more.
    Raises `InvalidRequest` for what only the deployment can judge: models, sizes, strategies.
    """
    check_idempotency_key(idempotency_key)
    _check_forms(request)
    if followed is not None or request.context_id is not None:
        kept_since = oldest_kept(settings, now)
        manifest, content, stored_key = await _known(request, owner, store, followed, kept_since=kept_since)
    else:
        manifest, content, stored_key = _sent(_texts(request) if texts is None else texts, settings)
    routed = _routed(request, Question(request.query or "", manifest.characters, owner), settings, followed)
    config = routed.decision.config
    digest = _digest(request, routed, manifest, owner, followed.conversation if followed else None)
    session_id = digest[:32] if idempotency_key is None else _sha256(["key", owner, idempotency_key])[:32]
    inline = None if stored_key is not None else _inline(content, manifest)
    # The digest tells two bodies apart that come under one Idempotency-Key at once.
    own_key = None if inline is not None else f"{session_prefix(session_id)}{digest[:32]}"
    job = Job(
        session_id=session_id,
        owner=owner,
        digest=digest,
        named_by_key=idempotency_key is not None,
        query=request.query or "",
        config=config,
        manifest=manifest.packed(),
        context_text=inline,
        context_key=stored_key or own_key,
        context_owned=stored_key is None,
        conversation=followed.conversation if followed else None,
        **{name: getattr(request, name) for name in _AS_ASKED},
    )
    return routed.told_to(job, settings.routing.task_model), (content if inline is None else [])


@dataclass(frozen=True, slots=True)
class _Routed:
    """What rules have chosen, and what they choose for each task where a model is to tell it."""

    decision: Decision
    by_task: Mapping[Task, Decision]
    judge_named: bool

    def told_to(self, job: Job, task_model: str | None) -> Job:
        """The job, knowing what was chosen."""
        by_task = {task: _choice(decision) for task, decision in self.by_task.items()}
        told = {"routing": self.decision.routing, "chains": self.decision.lists(), "judge_named": self.judge_named}
        return job.model_copy(update={**told, "task_model": task_model or "", "by_task": by_task})


def _routed(request: RunRequest, question: Question, settings: Settings, followed: Followed | None) -> _Routed:
    """What rules choose, each model by its id; what a session has named holds for those that follow it."""
    router = Router(settings.routing, settings.catalog, has_sandbox=settings.has_sandbox)
    config, named = request.config, frozenset(request.config.model_fields_set)
    if followed is not None:
        config, named = with_defaults(config, followed.config_for(settings.defaults)), named | followed.named
        if request.table is not None and config.strategy != "auto":  # of its own it may name no other
            config = config.model_copy(update={"strategy": "table"})

    def decided(task: Task | None = None) -> Decision:
        decision = router.decide(config, question, task, named=named)
        return replace(decision, config=_resolved(decision.config, settings))

    told = get_args(Task) if router.wants_task(config, question) else ()
    return _Routed(decided(), {task: decided(task) for task in told}, "relevance" in named)


def _choice(decision: Decision) -> TaskChoice:
    config = decision.config
    return TaskChoice(
        strategy=config.strategy,
        root_model=config.root_model,
        sub_model=config.sub_model,
        routing=decision.routing,
        chains=decision.lists(),
    )


def _inline(content: Parts, manifest: ContextManifest) -> str | None:
    """The text that travels in the job; None for one that is to be stored."""
    if isinstance(content, StoredParts) or manifest.characters > INLINE_CHARACTERS:
        return None
    return b"".join(content).decode()


def _digest(
    request: RunRequest, routed: _Routed, manifest: ContextManifest, owner: str, conversation: Conversation | None
) -> str:
    config = routed.decision.config
    decides = config.model_dump(exclude=set(_IRRELEVANT))
    for name in _CAME_LATER:  # a request that does not use them has the name that it had before there were any
        if decides[name] is None:
            del decides[name]
    asked: list[object] = [
        owner,
        manifest.identity,
        request.query,
        decides,
        request.response_schema,
        _prompt_version(config),
    ]
    asked += _form_version(request, config)
    if request.instructions is not None:
        asked.append(request.instructions)
    if conversation is not None:  # a dictionary: nothing else at this place is one
        asked.append({CONVERSATION_VERSION: conversation.model_dump()})
    if request.table is not None:
        asked.append({"table": [request.table.model_dump(exclude_none=True), _table_version()]})
    if routed.decision.identity is not None:
        asked.append({"routing": routed.decision.identity})
    if routed.by_task:
        asked.append({task: _choice(decision).to_wire() for task, decision in routed.by_task.items()})
    return _sha256(asked)


def _prompt_version(config: RunConfig) -> str:
    if config.strategy == "table":
        return f"{PROMPT_VERSION} {_table_version()}"
    return f"{PROMPT_VERSION} {REPL_PROMPT_VERSION}" if config.strategy == "repl" else PROMPT_VERSION


def _table_version() -> str:
    """Read late: an isolate that is asked for no table has its 128 MB for all else."""
    from rlm_worker.tables.prompts import TABLE_PROMPT_VERSION  # noqa: PLC0415 -- the same

    return TABLE_PROMPT_VERSION


def _form_version(request: RunRequest, config: RunConfig) -> list[object]:
    """What names the answers that have a form; before there was this version, strategy repl alone gave any."""
    return [] if request.response_schema is None or config.strategy == "repl" else [["form", FORM_VERSION]]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _resolved(config: RunConfig, settings: Settings) -> RunConfig:
    problems: list[FieldProblem] = []
    ids: dict[str, str] = {}
    for field_name, path in (("root_model", "config.rootModel"), ("sub_model", "config.subModel")):
        name = getattr(config, field_name)
        model = settings.catalog.find(name)
        if model is None:
            problems.append(FieldProblem(path, settings.catalog.unknown(name)))
        elif obstacle := settings.catalog.obstacle(model):
            problems.append(FieldProblem(path, f"{model.id} {obstacle}"))
        else:
            ids[field_name] = model.id
    if config.relevance is not None and (obstacle := settings.catalog.judge_obstacle(config.relevance)):
        problems.append(FieldProblem("config.relevance", f"{config.relevance}: {obstacle}"))
    if problems:
        raise InvalidRequest(problems)
    if config.strategy == "repl" and not settings.has_sandbox:
        raise BindingMissing("RLM_LOADER", "strategy repl")
    return config.model_copy(update=ids)


def check_idempotency_key(idempotency_key: str | None) -> None:
    """Raises `InvalidRequest` for a key that is empty or too long."""
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= _MAX_KEY_CHARACTERS:
        raise InvalidRequest.at("Idempotency-Key", f"must have 1 to {_MAX_KEY_CHARACTERS} characters")


def _check_forms(request: RunRequest) -> None:
    """Raises `InvalidRequest` for the form of an answer, or of a table, that cannot be."""
    _check_schema(request.response_schema)
    if request.response_schema is not None and request.query is None:
        raise InvalidRequest.at("responseSchema", "needs query beside it: without one the rows are the answer")
    if request.table is not None:
        from rlm_worker.strategies.table.options import check_table  # noqa: PLC0415 -- late: see `_table_version`

        check_table(request.table)


def _check_schema(schema: dict[str, object] | None) -> None:
    """It is part of prompts, so each call would pay for it."""
    if schema is not None and len(json.dumps(schema)) > _MAX_SCHEMA_CHARACTERS:
        raise InvalidRequest.at("responseSchema", f"must have at most {_MAX_SCHEMA_CHARACTERS:,} characters")
    if schema is not None:
        check_schema(schema)


async def _known(
    request: RunRequest, owner: str, store: ContextStore, followed: Followed | None, *, kept_since: float
) -> tuple[ContextManifest, Parts, str | None]:
    """The context of the session that is followed, or one that was put."""
    if followed is not None:
        return await handed_on(followed, store, kept_since=kept_since)
    key = stored_context_key(owner, request.context_id or "")
    try:
        return await stored_manifest(key, store, kept_since=kept_since), [], key
    except NotFound as error:
        raise InvalidRequest.at("contextId", str(error)) from None


def _sent(
    texts: SentTexts | list[tuple[str | None, str]], settings: Settings
) -> tuple[ContextManifest, Parts, str | None]:
    if len(texts) > settings.max_documents:
        raise PayloadTooLarge(settings.max_documents, "documents")
    manifest, content = _measured(texts) if isinstance(texts, SentTexts) else _gathered(texts)
    check_names(manifest)
    if manifest.bytes > settings.max_context_bytes:
        raise PayloadTooLarge(settings.max_context_bytes, "bytes of context")
    return manifest, content, None


def _gathered(texts: list[tuple[str | None, str]]) -> tuple[ContextManifest, Iterable[bytes]]:
    if not any(text.strip() for _, text in texts):
        raise InvalidRequest.at("context", "is empty")
    return gather_documents(texts)


def _measured(texts: SentTexts) -> tuple[ContextManifest, Iterable[bytes]]:
    measured = MeasuredDocuments()
    for name, blocks in texts.documents():
        measured.begin(name)
        for block in blocks:
            measured.take(block, block.encode())
    if measured.blank:
        raise InvalidRequest.at("context", "is empty")
    return measured.manifest(), _Encoded(texts)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The bytes of texts, block by block, as often as they are asked for."""

    texts: SentTexts

    def __iter__(self) -> Iterator[bytes]:
        for _, blocks in self.texts.documents():
            for block in blocks:
                yield block.encode()


def _texts(request: RunRequest) -> list[tuple[str | None, str]]:
    if isinstance(request.context, str):
        return [(None, request.context)]
    return [(item.name, item.text) if isinstance(item, Document) else (None, item) for item in request.context or []]
