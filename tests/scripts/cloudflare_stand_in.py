"""One account of Cloudflare's API on this machine: what `scripts/deploy` and the pinned wrangler ask it for.

Answers in the forms that the API's documentation gives, in pages of two so that who reads one page only is found out.
`refuse` orders an error, `requests` keeps what was asked.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "a-token"
_PAGE = 2
_DATE = "2026-11-24T12:00:00Z"


class Refused(Exception):
    """An error of the API."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Script:
    """A Worker: its settings, secrets and versions, the newest last."""

    bindings: list[dict[str, Any]]
    metadata: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)
    versions: list[str] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)


class CloudflareStandIn:
    """The account and its server, at `url` while the block lasts."""

    def __init__(self) -> None:
        self.subdomain = "acme"
        self.accounts = [{"id": ACCOUNT, "name": "Acme Inc.", "type": "standard"}]
        self.buckets: dict[str, dict[str, int]] = {}
        self.rules: dict[str, list[dict[str, Any]]] = {}
        self.queues: dict[str, list[dict[str, Any]]] = {}
        self.namespaces: dict[str, str] = {}
        self.scripts: dict[str, Script] = {}
        self.requests: list[tuple[str, str]] = []
        self.refuse: list[tuple[str, str, Refused]] = []
        self.points: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Exchange", (_Exchange,), {"cloud": self}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/client/v4"

    def asked(self, method: str) -> list[str]:
        return [path for verb, path in self.requests if verb == method]

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Any:
        """The envelope of an answer; raises `Refused`."""
        self.requests.append((method, path))
        if headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refused(403, 10000, "Authentication error")
        for verb, pattern, refusal in self.refuse:
            if verb == method and re.search(pattern, path):
                raise refusal
        for verb, pattern, handler in _ROUTES:
            if verb == method and (match := re.fullmatch(pattern.replace("ACCOUNT", f"/accounts/{ACCOUNT}"), path)):
                return handler(self, query, body, headers, *map(unquote, match.groups()))
        raise Refused(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def script(self, name: str) -> Script:
        if name not in self.scripts:
            raise Refused(404, 10007, "This Worker does not exist on your account.")
        return self.scripts[name]

    def bucket(self, name: str) -> dict[str, int]:
        if name not in self.buckets:
            raise Refused(404, 10006, "The specified bucket does not exist.")
        return self.buckets[name]


def ok(result: Any, **info: object) -> dict[str, Any]:
    envelope: dict[str, Any] = {"success": True, "errors": [], "messages": [], "result": result}
    return {**envelope, "result_info": info} if info else envelope


def paged(items: Sequence[Any], query: Mapping[str, str]) -> dict[str, Any]:
    """By number, as accounts, queues and namespaces come."""
    page, size = int(query.get("page", "1")), min(_PAGE, int(query.get("per_page", str(_PAGE))))
    part = list(items[(page - 1) * size : page * size])
    pages = max(1, -(-len(items) // size))
    return ok(part, page=page, per_page=size, count=len(part), total_count=len(items), total_pages=pages)


def cut(items: Sequence[str], query: Mapping[str, str]) -> tuple[list[str], dict[str, object]]:
    """By cursor, as buckets and objects come."""
    rest = [item for item in items if item > query.get("cursor", "")]
    more = len(rest) > _PAGE
    return rest[:_PAGE], {"per_page": _PAGE, **({"cursor": rest[_PAGE - 1], "is_truncated": True} if more else {})}


Handler = Callable[..., Any]


def list_buckets(cloud: CloudflareStandIn, query: Mapping[str, str], *_: object) -> Any:
    names, info = cut(sorted(cloud.buckets), query)
    return ok({"buckets": [{"name": name, "creation_date": _DATE} for name in names]}, **info)


def make_bucket(cloud: CloudflareStandIn, _query: object, body: bytes, *_: object) -> Any:
    name = json.loads(body)["name"]
    if name in cloud.buckets:
        raise Refused(409, 10004, "The bucket you tried to create already exists, and you own it.")
    cloud.buckets[name] = {}
    cloud.rules[name] = []
    return ok({"name": name, "creation_date": _DATE, "location": "weur", "storage_class": "Standard"})


def drop_bucket(cloud: CloudflareStandIn, _query: object, _body: object, _headers: object, name: str) -> Any:
    if cloud.bucket(name):
        raise Refused(409, 10008, "The bucket you tried to delete is not empty.")
    del cloud.buckets[name]
    return ok({})


def list_objects(cloud: CloudflareStandIn, query: Mapping[str, str], _body: object, _headers: object, name: str) -> Any:
    keys, info = cut(sorted(cloud.bucket(name)), query)
    return ok(
        [{"key": key, "size": cloud.buckets[name][key], "etag": "0", "last_modified": _DATE} for key in keys], **info
    )


def drop_object(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str, key: str) -> Any:
    cloud.bucket(name).pop(key, None)
    return ok({"key": key})


def get_rules(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    cloud.bucket(name)
    return ok({"rules": cloud.rules[name]})


def put_rules(cloud: CloudflareStandIn, _q: object, body: bytes, _h: object, name: str) -> Any:
    cloud.bucket(name)
    cloud.rules[name] = json.loads(body)["rules"]
    return ok({})


def list_queues(cloud: CloudflareStandIn, query: Mapping[str, str], *_: object) -> Any:
    names = [name for name in cloud.queues if query.get("name", name) == name]
    return paged([_queue(cloud, name) for name in names], query)


def make_queue(cloud: CloudflareStandIn, _q: object, body: bytes, *_: object) -> Any:
    name = json.loads(body)["queue_name"]
    if name in cloud.queues:
        raise Refused(409, 11009, "Queue name already exists")
    cloud.queues[name] = []
    return ok(_queue(cloud, name))


def drop_queue(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, queue: str) -> Any:
    del cloud.queues[_queue_name(cloud, queue)]
    return ok(None)


def list_consumers(cloud: CloudflareStandIn, query: Mapping[str, str], _b: object, _h: object, queue: str) -> Any:
    return paged(cloud.queues[_queue_name(cloud, queue)], query)


def make_consumer(cloud: CloudflareStandIn, _q: object, body: bytes, _h: object, queue: str, *_: object) -> Any:
    consumer = {**json.loads(body), "consumer_id": f"c{len(cloud.requests):031x}"}
    cloud.queues[_queue_name(cloud, queue)] = [consumer]
    return ok(consumer)


def list_namespaces(cloud: CloudflareStandIn, query: Mapping[str, str], *_: object) -> Any:
    return paged([{"id": id_, "title": title} for title, id_ in cloud.namespaces.items()], query)


def make_namespace(cloud: CloudflareStandIn, _q: object, body: bytes, *_: object) -> Any:
    title = json.loads(body)["title"]
    if title in cloud.namespaces:
        raise Refused(400, 10014, "a namespace with this account ID and title already exists")
    cloud.namespaces[title] = f"{len(cloud.requests):032x}"
    return ok({"id": cloud.namespaces[title], "title": title, "supports_url_encoding": True})


def drop_namespace(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, id_: str) -> Any:
    cloud.namespaces = {title: known for title, known in cloud.namespaces.items() if known != id_}
    return ok({})


def get_service(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    script = {
        "id": name,
        "tag": name,
        "migration_tag": cloud.script(name).metadata.get("migrations", {}).get("new_tag"),
    }
    production = {"environment": "production", "script": {**script, "last_deployed_from": "wrangler"}}
    return ok({"id": name, "default_environment": production, "environments": [production]})


def list_scripts(cloud: CloudflareStandIn, *_: object) -> Any:
    return ok(
        [
            {"id": name, "migration_tag": script.metadata.get("migrations", {}).get("new_tag")}
            for name, script in cloud.scripts.items()
        ]
    )


def put_script(cloud: CloudflareStandIn, _q: object, body: bytes, headers: Mapping[str, str], name: str) -> Any:
    metadata = json.loads(_part(body, headers["content-type"], "metadata"))
    known = cloud.scripts.setdefault(name, Script([], {}))
    known.metadata = {**known.metadata, **{key: value for key, value in metadata.items() if value is not None}}
    secrets = [binding for binding in metadata["bindings"] if binding["type"] == "secret_text"]
    known.secrets |= {binding["name"]: binding["text"] for binding in secrets}
    known.bindings = [binding for binding in metadata["bindings"] if binding["type"] not in {"secret_text", "inherit"}]
    known.versions.append(f"{len(known.versions) + 1:08x}-0000-4000-8000-000000000000")
    _deploy(known, known.versions[-1], "")
    return ok(
        {"id": name, "startup_time_ms": 700, "deployment_id": known.versions[-1], "etag": "0", "pipeline_hash": "0"}
    )


def post_version(cloud: CloudflareStandIn, _q: object, body: bytes, headers: Mapping[str, str], name: str) -> Any:
    script = cloud.script(name)
    before = list(script.deployments)
    put_script(cloud, _q, body, headers, name)
    script.deployments = before
    shown = _version(script.versions[-1])
    resources = {"bindings": script.bindings, "script": {"etag": "0", "handlers": ["fetch", "queue"]}}
    return ok({**shown, "startup_time_ms": 700, "resources": resources})


def get_worker(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    cloud.script(name)
    return ok({"id": name, "name": name, "subdomain": {"enabled": True, "previews_enabled": True}, "tags": []})


def drop_script(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    cloud.script(name)
    del cloud.scripts[name]
    return ok(None)


def get_settings(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    script = cloud.script(name)
    secrets = [{"type": "secret_text", "name": secret} for secret in script.secrets]
    return ok(
        {"bindings": [*script.bindings, *secrets], "compatibility_date": script.metadata.get("compatibility_date")}
    )


def list_secrets(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    return ok([{"name": secret, "type": "secret_text"} for secret in cloud.script(name).secrets])


def put_secret(cloud: CloudflareStandIn, _q: object, body: bytes, _h: object, name: str) -> Any:
    given = json.loads(body)
    cloud.script(name).secrets[given["name"]] = given["text"]
    return ok({"name": given["name"], "type": "secret_text"})


def get_subdomain(cloud: CloudflareStandIn, *_: object) -> Any:
    if not cloud.subdomain:
        raise Refused(404, 10007, "This account does not have a subdomain.")
    return ok({"subdomain": cloud.subdomain})


def enable_subdomain(*_: object) -> Any:
    return ok({"enabled": True, "previews_enabled": True})


def list_deployments(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    return ok({"deployments": cloud.script(name).deployments[::-1]})


def make_deployment(cloud: CloudflareStandIn, _q: object, body: bytes, _h: object, name: str) -> Any:
    given = json.loads(body)
    message = given.get("annotations", {}).get("workers/message", "")
    return ok(_deploy(cloud.script(name), given["versions"][0]["version_id"], message))


def list_versions(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    return ok({"items": [_version(version) for version in cloud.script(name).versions[::-1]]})


def get_version(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str, version: str) -> Any:
    script = cloud.script(name)
    if version not in script.versions:
        raise Refused(404, 10062, "This version does not exist.")
    return ok({**_version(version), "resources": {"bindings": script.bindings, "script": {}, "script_runtime": {}}})


def list_accounts(cloud: CloudflareStandIn, query: Mapping[str, str], *_: object) -> Any:
    return paged(cloud.accounts, query)


def make_tail(cloud: CloudflareStandIn, _q: object, _b: object, _h: object, name: str) -> Any:
    cloud.script(name)
    url = cloud.url.replace("http:", "ws:").replace("/client/v4", f"/tails/{name}")
    return ok({"id": f"{len(cloud.requests):032x}", "url": url, "expires_at": "2099-01-01T00:00:00Z"})


def ask_analytics(cloud: CloudflareStandIn, _q: object, _body: bytes, *_: object) -> Any:
    return {"meta": [], "data": cloud.points, "rows": len(cloud.points)}


def _deploy(script: Script, version: str, message: str) -> dict[str, Any]:
    deployment = {
        "id": f"{len(script.deployments) + 1:08x}-0000-4000-9000-000000000000",
        "source": "wrangler",
        "strategy": "percentage",
        "author_email": "ops@example.com",
        "created_on": _DATE,
        "annotations": {"workers/message": message, "workers/triggered_by": "deployment"},
        "versions": [{"version_id": version, "percentage": 100}],
    }
    script.deployments.append(deployment)
    return deployment


def _version(version: str) -> dict[str, Any]:
    metadata = {"author_email": "ops@example.com", "created_on": _DATE, "modified_on": _DATE, "source": "wrangler"}
    return {"id": version, "number": int(version[:8], 16), "metadata": metadata, "annotations": {}}


def _queue(cloud: CloudflareStandIn, name: str) -> dict[str, Any]:
    consumers = cloud.queues[name]
    counts = {"consumers_total_count": len(consumers), "producers_total_count": 0}
    return {"queue_id": _queue_id(name), "queue_name": name, "consumers": consumers, "producers": [], **counts}


def _queue_id(name: str) -> str:
    return name.encode().hex()[:32].ljust(32, "0")


def _queue_name(cloud: CloudflareStandIn, queue: str) -> str:
    for name in cloud.queues:
        if queue in {name, _queue_id(name)}:
            return name
    raise Refused(404, 11000, "The specified queue does not exist.")


def _part(body: bytes, content_type: str, name: str) -> bytes:
    """One field of a form."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    for part in message.walk():
        if part.get_param("name", header="content-disposition") == name:
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return payload
    raise Refused(400, 10021, f"no {name} in the form")


_SCRIPT = r"ACCOUNT/workers/scripts/([\w-]+)"
_BUCKET = r"ACCOUNT/r2/buckets/([\w-]+)"
_QUEUE = r"ACCOUNT/queues/(\w+)"
_ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", r"/accounts", list_accounts),
    ("GET", r"/memberships", lambda cloud, *_: ok([{"account": account} for account in cloud.accounts])),
    ("GET", r"ACCOUNT/r2/buckets", list_buckets),
    ("POST", r"ACCOUNT/r2/buckets", make_bucket),
    ("GET", _BUCKET, lambda cloud, _q, _b, _h, name: (cloud.bucket(name), ok({"name": name}))[1]),
    ("DELETE", _BUCKET, drop_bucket),
    ("GET", _BUCKET + "/objects", list_objects),
    ("DELETE", _BUCKET + "/objects/(.+)", drop_object),
    ("GET", _BUCKET + "/lifecycle", get_rules),
    ("PUT", _BUCKET + "/lifecycle", put_rules),
    ("GET", r"ACCOUNT/queues", list_queues),
    ("POST", r"ACCOUNT/queues", make_queue),
    ("DELETE", _QUEUE, drop_queue),
    ("GET", _QUEUE + "/consumers", list_consumers),
    ("POST", _QUEUE + "/consumers", make_consumer),
    ("PUT", _QUEUE + r"/consumers/(\w+)", make_consumer),
    ("GET", r"ACCOUNT/storage/kv/namespaces", list_namespaces),
    ("POST", r"ACCOUNT/storage/kv/namespaces", make_namespace),
    ("DELETE", r"ACCOUNT/storage/kv/namespaces/(\w+)", drop_namespace),
    ("GET", r"ACCOUNT/workers/services/([\w-]+)", get_service),
    ("GET", r"ACCOUNT/workers/scripts", list_scripts),
    ("PUT", _SCRIPT, put_script),
    ("DELETE", _SCRIPT, drop_script),
    ("GET", _SCRIPT + "/settings", get_settings),
    ("PATCH", _SCRIPT + "/script-settings", lambda *_: ok({})),
    ("GET", r"ACCOUNT/workers/workers/([\w-]+)", get_worker),
    ("PATCH", r"ACCOUNT/workers/workers/([\w-]+)", get_worker),
    ("GET", _SCRIPT + "/secrets", list_secrets),
    ("PUT", _SCRIPT + "/secrets", put_secret),
    ("GET", _SCRIPT + "/subdomain", enable_subdomain),
    ("POST", _SCRIPT + "/subdomain", enable_subdomain),
    ("GET", _SCRIPT + "/deployments", list_deployments),
    ("POST", _SCRIPT + "/deployments", make_deployment),
    ("GET", _SCRIPT + "/versions", list_versions),
    ("POST", _SCRIPT + "/versions", post_version),
    ("GET", _SCRIPT + r"/versions/([\w-]+)", get_version),
    ("POST", _SCRIPT + "/tails", make_tail),
    ("DELETE", _SCRIPT + r"/tails/(\w+)", lambda *_: ok(None)),
    ("GET", r"ACCOUNT/workers/subdomain", get_subdomain),
    ("POST", r"ACCOUNT/analytics_engine/sql", ask_analytics),
]


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    cloud: CloudflareStandIn

    def answer(self) -> None:
        if self.path.startswith("/tails/"):
            self._tail()
        else:
            self._answer()

    def _answer(self) -> None:
        target = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(target.query).items()}
        body = b"".join(self._pieces())
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, envelope = 200, {}
        try:
            envelope = self.cloud.answer(self.command, target.path.removeprefix("/client/v4"), query, body, headers)
        except Refused as error:
            errors = [{"code": error.code, "message": error.message}]
            status, envelope = error.status, {"success": False, "errors": errors, "messages": [], "result": None}
        text = json.dumps(envelope).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _tail(self) -> None:
        """What a Worker logs, over a WebSocket (RFC 6455): the events of the account, then the end."""
        seed = f"{self.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-protocol", self.headers.get("sec-websocket-protocol", "trace-v1"))
        self.send_header("sec-websocket-accept", b64encode(sha1(seed.encode()).digest()).decode())
        self.end_headers()
        for event in self.cloud.logged:
            payload = json.dumps(event).encode()
            self.wfile.write(b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload)
        self.wfile.write(b"\x88\x02\x03\xe8")
        self.close_connection = True

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            yield self.rfile.read(int(self.headers.get("content-length") or 0))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server names them so

    def log_message(self, *_: object) -> None:
        """Says nothing."""
