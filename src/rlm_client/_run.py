"""One question, one call."""

from __future__ import annotations

from rlm_client._async_client import AsyncRLMClient
from rlm_client._client import RLMClient
from rlm_client._config import Config
from rlm_client._context import Context
from rlm_client._models import RLMResult


def run_rlm(
    context: Context,
    query: str,
    config: Config | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
) -> RLMResult:
    """Ask an rlm-worker a question about a context of any length and return the result.

    `context` is a string, a list of strings, a list of documents, or a context uploaded before; `config` an
    `RLMConfig` or a mapping. `base_url` and `api_key` default to `RLM_BASE_URL` and `RLM_API_KEY`. Raises `RLMError`s.
    """
    with RLMClient(base_url, api_key) as client:
        return client.run(context, query, config)


async def arun_rlm(
    context: Context,
    query: str,
    config: Config | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
) -> RLMResult:
    """`run_rlm`, awaited."""
    async with AsyncRLMClient(base_url, api_key) as client:
        return await client.run(context, query, config)
