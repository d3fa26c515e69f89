"""The var `PROVIDERS`: services beside the binding `AI`, by the names that model ids begin with.

A provider's `key` names a secret, and so may `gatewayKey` (sent as `cf-aig-authorization` to an AI Gateway that keeps
the provider's own key). The secrets themselves are read where a call is made, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic.alias_generators import to_camel

from rlm_worker.ports import Provider
from rlm_worker.variables import parsed_var

_VAR = "PROVIDERS"
_DEFAULT_URLS = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}
_OPENROUTER = "openrouter.ai"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# What a request is made of; a deployment adds to it and does not replace it.
_OURS = frozenset({"model", "messages", "system", "stream", "stream_options", "max_tokens", "max_completion_tokens"})

_OWN_SECRETS = frozenset({"RLM_API_KEYS", "RLM_ADMIN_KEYS"})
_Secret = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]


class ProviderVar(BaseModel):
    """One provider; `body` is added to every request, such as OpenRouter's `provider` and `models`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True)

    type: Literal["anthropic", "openai"]
    url: str | None = None
    key: _Secret | None = None
    gateway_key: _Secret | None = None
    body: dict[str, object] = Field(default_factory=dict)
    output_limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    streams: bool | None = None
    cache_key_field: Literal["prompt_cache_key", "session_id", ""] | None = None

    @field_validator("key", "gateway_key")
    @classmethod
    def _is_no_secret_of_ours(cls, name: str | None) -> str | None:
        if name in _OWN_SECRETS:
            raise ValueError(f"{name} opens this Worker and is sent to nobody")
        return name

    @field_validator("body")
    @classmethod
    def _adds_only(cls, body: dict[str, object]) -> dict[str, object]:
        if taken := sorted(_OURS & body.keys()):
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        return body

    @model_validator(mode="after")
    def _is_private(self) -> ProviderVar:
        url = urlsplit(self.url or _DEFAULT_URLS[self.type])
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"url must be an http or https URL, not {self.url!r}")
        if url.query or url.fragment or url.username or url.password:
            raise ValueError("url must be an address alone; a key is a secret that `key` names")
        sends_key = self.key or self.gateway_key
        if sends_key and url.scheme == "http" and url.hostname not in _LOOPBACK:
            raise ValueError("a key is sent by https only")
        return self

    def to_provider(self, name: str, has_secret: Callable[[str], bool]) -> Provider:
        """The provider as the adapters take it."""
        url = (self.url or _DEFAULT_URLS[self.type]).rstrip("/")
        secrets = [secret for secret in (self.key, self.gateway_key) if secret]
        vendor = self._vendor(url)
        newer = vendor == "openai"
        return Provider(
            name=name,
            type=self.type,
            url=url,
            key=self.key or "",
            gateway_key=self.gateway_key or "",
            missing_secrets=tuple(secret for secret in secrets if not has_secret(secret)),
            vendor=vendor,
            body=self.body,
            streams=self._streams(url) if self.streams is None else self.streams,
            output_limit=self.output_limit or ("max_completion_tokens" if newer else "max_tokens"),
            cache_key_field=self._cache_key_field(url) if self.cache_key_field is None else self.cache_key_field,
        )

    def _streams(self, url: str) -> bool:
        """Whether it is known to stream for everybody, and to count tokens when it does."""
        return self.type == "anthropic" or urlsplit(url).hostname == _OPENROUTER

    def _cache_key_field(self, url: str) -> str:
        """What it is known to take; others may refuse a field that they do not know."""
        if self.type == "openai" and urlsplit(url).hostname == _OPENROUTER:
            return "session_id"
        return "prompt_cache_key" if self._vendor(url) == "openai" else ""

    def _vendor(self, url: str) -> str:
        """Whose models it serves, where that follows from the type and the address."""
        if self.type == "anthropic":
            return "anthropic"
        return "openai" if url == _DEFAULT_URLS["openai"] or url.endswith("/openai") else ""


_NAME = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
_PROVIDERS = TypeAdapter(dict[_NAME, ProviderVar])


def providers_of(text: str, has_secret: Callable[[str], bool]) -> Mapping[str, Provider]:
    """The providers of the var's JSON; raises `NotConfigured`, naming the field."""
    found = parsed_var(_VAR, _PROVIDERS, text)
    return {name: provider.to_provider(name, has_secret) for name, provider in found.items()}
