"""Cloudflare's REST API, as far as deploying needs it: every page of its lists, its errors as sentences."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from scripts.cloud.errors import CloudflareError, explained
from scripts.local.errors import LocalError

_URL = "https://api.cloudflare.com/client/v4"
_TIMEOUT_SECONDS = 60.0
_MAX_RATE_PAUSES = 30
_PAUSE_SECONDS = 10.0


def api_url() -> str:
    """Where the API is: wrangler's own variable says otherwise."""
    return os.environ.get("CLOUDFLARE_API_BASE_URL") or _URL


@dataclass(frozen=True, slots=True)
class Account:
    """An account of Cloudflare's."""

    id: str
    name: str


class CloudflareAPI:
    """The API with a token, and with one account once `choose_account` has found it."""

    def __init__(self, token: str, url: str | None = None) -> None:
        headers = {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url or api_url(), headers=headers, timeout=_TIMEOUT_SECONDS)
        self.account = Account("", "")

    def choose_account(self) -> Account:
        """The account of CLOUDFLARE_ACCOUNT_ID, or the only one that the token sees."""
        wanted = os.environ.get("CLOUDFLARE_ACCOUNT_ID", "")
        known = self._accounts(may_fail=bool(wanted))
        if wanted:
            self.account = next((one for one in known if one.id == wanted), Account(wanted, "of CLOUDFLARE_ACCOUNT_ID"))
        elif len(known) == 1:
            self.account = known[0]
        else:
            names = ", ".join(f"{one.name} ({one.id})" for one in known) or "none"
            raise LocalError(f"the token sees {len(known)} accounts: {names}", hint="set CLOUDFLARE_ACCOUNT_ID to one")
        return self.account

    def _accounts(self, *, may_fail: bool) -> list[Account]:
        """Those that the token sees; one that belongs to an account may see none."""
        try:
            return [Account(str(one["id"]), str(one["name"])) for one in self._numbered("/accounts")]
        except CloudflareError:
            if may_fail:
                return []
            raise

    def subdomain(self) -> str:
        """The account's part of workers.dev; empty where it has none."""
        try:
            return str(_dict(self.get("/workers/subdomain")).get("subdomain") or "")
        except CloudflareError as error:
            if error.is_absence:
                return ""
            raise

    def secrets(self, worker: str) -> list[str] | None:
        """Names of a Worker's secrets; None where there is no such Worker."""
        try:
            return [str(one["name"]) for one in _dicts(self.get(f"/workers/scripts/{worker}/secrets"))]
        except CloudflareError as error:
            if error.is_absence:
                return None
            raise

    def buckets(self) -> list[str]:
        return [str(one["name"]) for one in self._by_cursor("/r2/buckets", "buckets")]

    def objects(self, bucket: str) -> Iterator[dict[str, object]]:
        """Every object of a bucket, `key` and `size`; what is deleted meanwhile leaves no gap."""
        return self._by_cursor(f"/r2/buckets/{bucket}/objects")

    def delete_object(self, bucket: str, key: str) -> None:
        self.call("DELETE", f"/r2/buckets/{bucket}/objects/{quote(key, safe='')}")

    def queues(self) -> dict[str, str]:
        """Ids by name."""
        return {str(one["queue_name"]): str(one["queue_id"]) for one in self._numbered(self._path("/queues"))}

    def namespaces(self) -> dict[str, str]:
        """Ids by title."""
        found = self._numbered(self._path("/storage/kv/namespaces"))
        return {str(one["title"]): str(one["id"]) for one in found}

    def analytics(self, sql: str) -> list[dict[str, object]]:
        """The rows that Analytics Engine has for a query with `FORMAT JSON`."""
        response = self._sent("POST", self._path("/analytics_engine/sql"), content=sql)
        if not response.is_success:
            raise explained(response.text[:500], what="asking Analytics Engine", status=response.status_code)
        return _dicts(_dict(response.json()).get("data"))

    def get(self, path: str) -> object:
        """The result of a path below the account."""
        return self.call("GET", path)

    def call(self, method: str, path: str, body: object = None) -> object:
        """The result of a request below the account; raises `CloudflareError`."""
        return self._asked(method, self._path(path), body=body)["result"]

    def _path(self, path: str) -> str:
        return f"/accounts/{self.account.id}{path}"

    def _numbered(self, path: str) -> Iterator[dict[str, object]]:
        page, seen = 1, 0
        while True:
            envelope = self._asked("GET", path, query={"page": str(page), "per_page": "50"})
            items, info = _dicts(envelope["result"]), _dict(envelope.get("result_info"))
            yield from items
            seen += len(items)
            total = info.get("total_count")
            if not items or not isinstance(total, int) or seen >= total:
                return
            page += 1

    def _by_cursor(self, path: str, field: str = "") -> Iterator[dict[str, object]]:
        cursor = ""
        while True:
            query = {"per_page": "1000", **({"cursor": cursor} if cursor else {})}
            envelope = self._asked("GET", self._path(path), query=query)
            result = envelope["result"]
            yield from _dicts(_dict(result).get(field) if field else result)
            cursor = str(_dict(envelope.get("result_info")).get("cursor") or "")
            if not cursor:
                return

    def _asked(
        self, method: str, path: str, *, body: object = None, query: dict[str, str] | None = None
    ) -> dict[str, object]:
        response = self._sent(method, path, body=body, query=query)
        for _ in range(_MAX_RATE_PAUSES):
            if response.status_code != 429:
                break
            time.sleep(float(response.headers.get("retry-after") or _PAUSE_SECONDS))
            response = self._sent(method, path, body=body, query=query)
        return _envelope(response, f"{method} {path.removeprefix(f'/accounts/{self.account.id}')}")

    def _sent(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content: str | None = None,
        query: dict[str, str] | None = None,
    ) -> httpx.Response:
        try:
            # Written out: httpx would leave the slashes of a key as they are, and take them for parts of the path.
            url = str(self._client.base_url).rstrip("/") + path
            return self._client.request(method, url, json=body, content=content, params=query or {})
        except httpx.HTTPError as error:
            raise LocalError(f"Cloudflare's API cannot be reached: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()


def _envelope(response: httpx.Response, what: str) -> dict[str, object]:
    try:
        envelope = _dict(response.json())
    except ValueError:
        envelope = {}
    if response.is_success and envelope.get("success", True) and "result" in envelope:
        return envelope
    errors = _dicts(envelope.get("errors"))
    said = "\n".join(f"{error.get('message')} [code: {error.get('code')}]" for error in errors) or response.text[:500]
    codes = tuple(code for error in errors if isinstance(code := error.get("code"), int))
    raise explained(said, what=f"{what} ({response.status_code})", status=response.status_code, codes=codes)


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
