"""The asynchronous client: `RLMClient` and `run_rlm`, awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, overload

import httpx

from . import _flows, _requests
from ._context import Context, OnProgress, PreviousSession, Source, UploadBody, previous_session
from ._drivers import AsyncDriver
from ._errors import RequestError
from ._flows import Cursor, Flow
from ._models import (
    BatchItem,
    BatchStatus,
    BatchSubmitted,
    Cancelled,
    Config,
    Health,
    ModelInfo,
    RLMResult,
    RoutingPreview,
    SessionStatus,
    StoredContext,
    Submitted,
    Trajectory,
)
from ._requests import ONE_FORM, Operation, RunRequest, T
from ._settings import RetryPolicy, settings
from ._stream import AsyncEventStream
from ._structured import ModelT, ParsedResult, Rows, parsed_result


class AsyncRLMClient:
    """A connection to an rlm-worker; use it with `async with`, or call `aclose`.

    `base_url` and `api_key` default to `RLM_BASE_URL` and `RLM_API_KEY`, the URL in the end to the local Worker's.
    `timeout` is how many seconds a run may take to answer; contexts of more than `inline_limit` bytes are
    uploaded first; `transport` replaces the network, as in httpx. Every method raises `RLMError`s.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 900.0,
        inline_limit: int = 4_000_000,
        retries: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings(base_url, api_key, timeout=timeout, inline_limit=inline_limit, retries=retries)
        self._http = httpx.AsyncClient(transport=transport)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.origin!r})"

    @property
    def base_url(self) -> str:
        """The Worker's address."""
        return self._settings.origin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; runs go on."""
        await self._http.aclose()

    @overload
    async def run(
        self,
        context: Context,
        query: str | None,
        config: Config | None = None,
        *,
        response_schema: Mapping[str, object] | None = None,
        instructions: str | None = None,
        table: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        on_upload: OnProgress | None = None,
    ) -> RLMResult: ...

    @overload
    async def run(
        self,
        context: Context,
        query: str | None,
        config: Config | None = None,
        *,
        response_model: type[ModelT],
        instructions: str | None = None,
        table: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        on_upload: OnProgress | None = None,
    ) -> ParsedResult[ModelT]: ...

    async def run(
        self,
        context: Context,
        query: str | None,
        config: Config | None = None,
        *,
        response_schema: Mapping[str, object] | None = None,
        response_model: type[ModelT] | None = None,
        instructions: str | None = None,
        table: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        on_upload: OnProgress | None = None,
    ) -> RLMResult | ParsedResult[ModelT]:
        """Ask a question about a context and return the result.

        `instructions` say how to answer. With a `response_schema` the answer is JSON that fits it; with a
        `response_model`, a pydantic class, it is a value of that class too: `result.parsed`.
        The same request, or the same `idempotency_key`, leads back to the same run and is paid once. `table` are the
        options of strategy table: with a `schema` in it the query may be None, and `rows` brings what was read.
        """
        request = RunRequest(context, query, config, response_schema, False, response_model, instructions, table)
        result = await self._drive(_flows.run(request, idempotency_key, self._settings, on_upload))
        return result if response_model is None else parsed_result(result, response_model)

    async def follow(
        self,
        previous: RLMResult | SessionStatus | Submitted | PreviousSession | str,
        query: str,
        config: Config | None = None,
        *,
        response_schema: Mapping[str, object] | None = None,
        instructions: str | None = None,
        idempotency_key: str | None = None,
    ) -> RLMResult:
        """Ask a further question about the context of an earlier one, given by its result or its session's id.

        The model knows the questions and answers before; where `config` is silent, the earlier session's holds.
        `run`, `stream` and `submit` take the result, or a `PreviousSession`, in place of a context too.
        """
        return await self.run(
            previous_session(previous),
            query,
            config,
            response_schema=response_schema,
            instructions=instructions,
            idempotency_key=idempotency_key,
        )

    def stream(
        self,
        context: Context,
        query: str | None,
        config: Config | None = None,
        *,
        response_schema: Mapping[str, object] | None = None,
        response_model: type[object] | None = None,
        instructions: str | None = None,
        table: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        cancel_on_disconnect: bool = False,
        on_upload: OnProgress | None = None,
    ) -> AsyncEventStream:
        """Ask, and iterate over what happens; the last event is the result. Nothing is sent before the iteration.

        With `cancel_on_disconnect` the run stops when this stream is closed early. It then stops just as well when the
        connection breaks, and the stream ends in a `RunFailedError` of type `cancelled` instead of resuming.
        `stream.result.parse_as(response_model)` is the answer as a value.
        """
        cursor, request = Cursor(), RunRequest(context, query, config, response_schema, cancel_on_disconnect)
        request = replace(request, response_model=response_model, instructions=instructions, table=table)
        return self._follow(_flows.follow_run(request, idempotency_key, self._settings, cursor, on_upload), cursor)

    def events(self, session_id: str, *, after: str | None = None) -> AsyncEventStream:
        """Iterate over a session's events, from its beginning or from after an event id."""
        cursor = Cursor(session_id, after)
        return self._follow(_flows.follow_session(self._settings, cursor), cursor)

    async def submit(
        self,
        context: Context,
        query: str | None,
        config: Config | None = None,
        *,
        response_schema: Mapping[str, object] | None = None,
        response_model: type[object] | None = None,
        instructions: str | None = None,
        table: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        on_upload: OnProgress | None = None,
    ) -> Submitted:
        """Ask, and return as soon as the run has begun; it goes on without this client.

        The same `response_model` is for `wait`, which gives the answer as a value.
        """
        request = RunRequest(context, query, config, response_schema, False, response_model, instructions, table)
        return await self._drive(_flows.submit(request, idempotency_key, self._settings, on_upload))

    async def status(self, session_id: str) -> SessionStatus:
        """Return how far a run is."""
        return await self._perform(_requests.status(session_id))

    async def result(self, session_id: str) -> RLMResult | None:
        """Return a run's result, or None while it goes on."""
        return await self._perform(_requests.result(session_id))

    @overload
    async def wait(
        self,
        session_id: str,
        *,
        timeout: float | None = None,
        on_status: Callable[[SessionStatus], None] | None = None,
    ) -> RLMResult: ...

    @overload
    async def wait(
        self,
        session_id: str,
        *,
        response_model: type[ModelT],
        timeout: float | None = None,
        on_status: Callable[[SessionStatus], None] | None = None,
    ) -> ParsedResult[ModelT]: ...

    async def wait(
        self,
        session_id: str,
        *,
        response_model: type[ModelT] | None = None,
        timeout: float | None = None,
        on_status: Callable[[SessionStatus], None] | None = None,
    ) -> RLMResult | ParsedResult[ModelT]:
        """Return a run's result as soon as there is one; raises `WaitTimeoutError` after `timeout` seconds."""
        result = await self._drive(_flows.wait_for_session(session_id, timeout, self._settings, on_status))
        return result if response_model is None else parsed_result(result, response_model)

    async def cancel(self, session_id: str) -> Cancelled:
        """Stop a run and delete its session: its journal, its result, its stored context."""
        return await self._perform(_requests.cancel(session_id))

    async def trajectory(self, session_id: str) -> Trajectory:
        """Return every model call of a session: prompt, response, tokens, cost, time."""
        return await self._perform(_requests.trajectory(session_id))

    async def report(self, session_id: str) -> str | None:
        """Return a run as a page of HTML: answer and sources side by side; None while the run goes on."""
        return await self._perform(_requests.report(session_id))

    async def rows(self, run: RLMResult | str, *, table: str | None = None) -> Rows:
        """Return the rows of a run's tables, or of one of them; waits for a run that goes on, by its session id."""
        return await self._drive(_flows.rows(run, table, self._settings))

    async def rows_csv(self, run: RLMResult | str, *, table: str | None = None) -> str:
        """Return the rows of a table as CSV (RFC 4180); a text that a spreadsheet would run has a quote before it."""
        return await self._drive(_flows.rows_csv(run, table, self._settings))

    async def upload(self, source: Source, *, on_progress: OnProgress | None = None) -> StoredContext:
        """Store a text for later questions: a string, UTF-8 bytes, a path, or an open binary file, read as it goes."""
        return await self._perform(_requests.upload(UploadBody(source, on_progress)))

    async def batch(
        self, requests: Sequence[RunRequest | Mapping[str, object]], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        """Ask many questions at once; each runs on its own, in the background."""
        return await self._drive(_flows.batch(requests, idempotency_key, self._settings))

    async def batch_status(self, batch_id: str) -> BatchStatus:
        """Return how far a batch is and what it has cost."""
        return await self._perform(_requests.batch_status(batch_id))

    async def batch_results(self, batch_id: str) -> list[BatchItem]:
        """Return the outcomes so far, in the order of the requests."""
        return await self._perform(_requests.batch_results(batch_id))

    async def wait_batch(
        self,
        batch_id: str,
        *,
        timeout: float | None = None,
        on_status: Callable[[BatchStatus], None] | None = None,
    ) -> BatchStatus:
        """Return a batch's status once every item has ended; raises `WaitTimeoutError` after `timeout` seconds."""
        return await self._drive(_flows.wait_for_batch(batch_id, timeout, self._settings, on_status))

    async def cancel_batch(self, batch_id: str) -> Cancelled:
        """Stop what is left of a batch and delete it."""
        return await self._perform(_requests.cancel_batch(batch_id))

    async def preview_routing(self, query: str, characters: int, config: Config | None = None) -> RoutingPreview:
        """Return which models would answer about a context of so many characters, and which by each policy."""
        return await self._perform(_requests.preview_routing(query, characters, config))

    async def models(self) -> list[ModelInfo]:
        """Return the models that the deployment knows, with windows and prices."""
        return await self._perform(_requests.models())

    async def health(self, *, deep: bool = False) -> Health:
        """Return whether the Worker is healthy; `deep` has it exercise each of its bindings."""
        return await self._perform(_requests.health(deep=deep))

    async def _perform(self, operation: Operation[T]) -> T:
        return await self._drive(_flows.perform(operation, self._settings))

    def _follow(self, flow: Flow[None], cursor: Cursor) -> AsyncEventStream:
        return AsyncEventStream(AsyncDriver(self._http), flow, cursor)

    async def _drive(self, flow: Flow[T]) -> T:
        return await AsyncDriver(self._http).run(flow)


@overload
async def arun_rlm(
    context: Context,
    query: str,
    config: Config | None = None,
    *,
    response_schema: Mapping[str, object] | None = None,
    instructions: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> RLMResult: ...


@overload
async def arun_rlm(
    context: Context,
    query: str,
    config: Config | None = None,
    *,
    response_model: type[ModelT],
    instructions: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> ParsedResult[ModelT]: ...


async def arun_rlm(
    context: Context,
    query: str,
    config: Config | None = None,
    *,
    response_schema: Mapping[str, object] | None = None,
    response_model: type[ModelT] | None = None,
    instructions: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> RLMResult | ParsedResult[ModelT]:
    """`run_rlm`, awaited."""
    async with AsyncRLMClient(base_url, api_key) as client:
        if response_model is None:
            return await client.run(context, query, config, response_schema=response_schema, instructions=instructions)
        if response_schema is not None:
            raise RequestError(ONE_FORM)
        return await client.run(context, query, config, response_model=response_model, instructions=instructions)
