"""The Worker with a way to try the platform: `POST /probe/{where}/{name}` runs a probe in the `worker` or an `object`.

Bindings and storage are those that the Worker itself is given, the strict platform in front of them.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, to_js
from workers import Response

import entry

RLMSession = entry.RLMSession
RLMBatch = entry.RLMBatch
RLMPace = entry.RLMPace
RLMKeys = entry.RLMKeys
SandboxHost = entry.SandboxHost
SANDBOX = "export default { async fetch() { await scheduler.wait(300); return new Response('done'); } };"


class Platform:
    """What a probe tries: the context and environment of where it runs."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx, self.env = ctx, env

    # Storage of an object.

    async def insert(self, size: int, text: str = "x", rows: int = 1) -> object:
        sql = self.ctx.storage._binding.sql
        sql.exec("CREATE TABLE IF NOT EXISTS probes (name TEXT, value TEXT)")
        places = ", ".join(["(?, ?)"] * rows)
        sql.exec(f"INSERT INTO probes VALUES {places}", *(["name", text * size] * rows))
        return None

    async def update(self, size: int) -> object:
        await self.insert(1)
        self.ctx.storage._binding.sql.exec("UPDATE probes SET value = ?", "x" * size)
        return None

    async def put(self, size: int) -> object:
        return await self.ctx.storage.put("key", "x" * size)

    async def select(self, size: int = 0, values: int = 1, pattern: int = 1) -> object:
        bound = ", ".join("?" * values)
        statement = f"SELECT {bound} WHERE 'a' LIKE '{'x' * pattern}' /* {'x' * size} */"
        self.ctx.storage._binding.sql.exec(statement, *range(values))
        return None

    async def sleep(self, seconds: float) -> object:
        await asyncio.sleep(seconds)
        return None

    async def set_alarm(self, seconds: float) -> object:
        await self.ctx.storage.setAlarm(int(js.Date.now() + seconds * 1000))
        return None

    async def alarms(self) -> object:
        return json.loads(await self.ctx.storage.get("alarms") or "[]")

    # Calls.

    async def message(self, size: int) -> object:
        return await self.env.RLM_ACCOUNTS.getByName("probe").length("x" * size)

    async def gets(self, count: int) -> object:
        for number in range(count):
            await self.env.RLM_CACHE.get(f"absent {number}")
        return count

    async def fetches(self, url: str, count: int) -> object:
        await asyncio.gather(*(js.fetch(f"{url}/{number}") for number in range(count)))
        return count

    async def order(self, url: str, then: str) -> object:
        """What ends when: six slow requests, and something quick that was asked for last."""
        ended: list[str] = []

        async def noted(name: str, work: Awaitable[object]) -> None:
            await work
            ended.append(name)

        quick: dict[str, Callable[[], Awaitable[object]]] = {
            "kv": lambda: self.env.RLM_CACHE.get("absent"),
            "r2": lambda: self.env.RLM_CONTEXT_STORAGE.get("absent"),
            "queue": lambda: self.env.RLM_BATCH_QUEUE.send("probe", {"contentType": "text", "delaySeconds": 3600}),
            "stub": lambda: self.env.RLM_ACCOUNTS.getByName("probe").length("x"),
        }
        slow = [noted("slow", js.fetch(f"{url}/{number}")) for number in range(6)]
        await asyncio.gather(*slow, noted(then, quick[then]()))
        return ended

    # KV, R2, queue, analytics.

    async def write(
        self, key: str = "", size: int = 1, times: int = 1, seconds: int = 3600, pause: float = 0
    ) -> object:
        key = key or uuid.uuid4().hex
        for number in range(times):
            await asyncio.sleep(pause if number else 0)
            await self.env.RLM_CACHE.put(key, "x" * size, {"expirationTtl": seconds})
        return None

    async def rewrite_and_delete(self) -> object:
        key = uuid.uuid4().hex
        await self.env.RLM_CACHE.put(key, "x", {"expirationTtl": 60})
        await self.env.RLM_CACHE.delete(key)
        return None

    async def delete_objects(self, count: int) -> object:
        await self.env.RLM_CONTEXT_STORAGE.delete([f"absent {number}" for number in range(count)])
        return None

    async def put_stream(self) -> object:
        body = js.Response.new("x" * 10).body.pipeThrough(js.TransformStream.new())
        await self.env.RLM_CONTEXT_STORAGE.put(f"probes/{uuid.uuid4().hex}", body)
        return None

    async def upload(self, sizes: list[int]) -> object:
        upload = await self.env.RLM_CONTEXT_STORAGE.createMultipartUpload(f"probes/{uuid.uuid4().hex}")
        parts = []
        for number, size in enumerate(sizes, 1):
            part = await upload.uploadPart(number, b"x" * size)
            parts.append({"partNumber": part.partNumber, "etag": part.etag})
        await upload.complete(parts)
        return None

    async def send(self, size: int) -> object:
        await self.env.RLM_BATCH_QUEUE.send("x" * size, {"contentType": "text", "delaySeconds": 3600})
        return None

    async def send_batch(self, count: int, size: int = 1) -> object:
        messages = [{"body": "x" * size, "contentType": "text", "delaySeconds": 3600} for _ in range(count)]
        await self.env.RLM_BATCH_QUEUE.sendBatch(messages)
        return None

    async def points(self, count: int = 1, blob: int = 1, index: int = 1) -> object:
        for _ in range(count):
            self.env.RLM_ANALYTICS.writeDataPoint({"indexes": ["x" * index], "blobs": ["x" * blob], "doubles": [1]})
        return None

    # Dynamic Workers.

    async def sandboxes(self, count: int, same: bool = False) -> object:
        asked = [self._sandbox("the same" if same else f"{number}") for number in range(count)]
        await asyncio.gather(*asked)
        return count

    async def _sandbox(self, name: str) -> None:
        code = {"compatibilityDate": "2026-09-08", "mainModule": "main.js", "modules": {"main.js": SANDBOX}}

        async def load() -> Any:
            return to_js(code, dict_converter=js.Object.fromEntries)

        sandbox = self.env.RLM_LOADER.get(name, create_proxy(load))
        await sandbox.getEntrypoint().fetch("http://sandbox/")


async def tried(platform: Platform, name: str, arguments: str) -> str:
    """What a probe gives, or the error that it met, as JSON."""
    try:
        return json.dumps({"value": await getattr(platform, name)(**json.loads(arguments))})
    except (JsException, OSError) as error:
        return json.dumps({"error": str(error)})


class Default(entry.Default):
    """Answers HTTP, and probes."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env

    async def fetch(self, request: Any) -> Any:
        _, _, path = str(request.url).partition("/probe/")
        if not path:
            return await super().fetch(request)
        where, name = path.split("/")
        arguments = await request.text()
        if where == "object":
            return Response(await self.env.RLM_ACCOUNTS.getByName("probe").probe(name, arguments))
        return Response(await tried(Platform(self.ctx, self.env), name, arguments))


class RLMAccount(entry.RLMAccount):
    """The account of a key, which probes too; its alarm never ends by itself."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self._platform = Platform(ctx, env)
        self._life = uuid.uuid4().hex

    async def probe(self, name: str, arguments: str) -> str:
        return await tried(self._platform, name, arguments)

    async def length(self, text: str) -> int:
        return len(text)

    async def alarm(self, *_: Any) -> None:
        storage = self._platform.ctx.storage
        lives = json.loads(await storage.get("alarms") or "[]")
        await storage.put("alarms", json.dumps([*lives, self._life]))
        await asyncio.sleep(3600)
