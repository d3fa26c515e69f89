"""The scripted model's HTTP side: OpenAI's chat completions, and the control of the script."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from aiohttp import web

from scripts.local.scripted.calls import CallEntry, ChatCall, Reply, count_tokens, cut_to_tokens, digest_of
from scripts.local.scripted.faults import Fault, fault_from_json
from scripts.local.scripted.judging import judged_messages, judgement
from scripts.local.scripted.rate import rate_from_json
from scripts.local.scripted.rules import nothing_found, rule_from_json
from scripts.local.scripted.script import Script

_MAX_BODY_BYTES = 1 << 30
_NUMBER = 42
# What the log shows as messages, or in a field of its own.
_SAID = {"messages", "model", "query", "documents", "input", "state", "questions"}


def scripted_app(script: Script) -> web.Application:
    """The routes of one scripted model."""
    server, control = _Completions(script), _Control(script)
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.add_routes(
        [
            web.post("/v1/chat/completions", server.complete),
            *(web.post(f"/v1/{{route:{route}}}", server.judge) for route in ("rerank", "embeddings", "decisions")),
            web.get("/v1/models", server.models),
            web.get("/health", server.health),
            web.get("/control", control.show),
            web.post("/control", control.change),
            web.get("/control/calls", control.calls),
            web.delete("/control/calls", control.reset),
        ]
    )
    return app


class _Completions:
    def __init__(self, script: Script) -> None:
        self._script = script

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        call = self._parse(json.loads(await request.read()), request.headers.get("x-ai-options"))
        entry, fault = self._script.enter(call)
        try:
            fault = fault or await self._script.wait_for_room(entry)
            return await self._answer(request, entry, fault)
        except (asyncio.CancelledError, ConnectionError):
            self._script.leave(entry, "cancelled")
            raise

    async def judge(self, request: web.Request) -> web.StreamResponse:
        body: Mapping[str, object] = json.loads(await request.read())
        call = self._call(body, judged_messages(body), request.headers.get("x-ai-options"))
        entry, fault = self._script.enter(call)
        try:
            fault = fault or await self._script.wait_for_room(entry)
            return await self._judged(request, entry, fault, body)
        except (asyncio.CancelledError, ConnectionError):
            self._script.leave(entry, "cancelled")
            raise

    async def _judged(
        self, request: web.Request, entry: CallEntry, fault: Fault | None, body: Mapping[str, object]
    ) -> web.Response:
        if (failed := await self._failed(request, entry, fault)) is not None:
            return failed
        odd = fault is not None and fault.fails in {"empty", "null", "numeric"}
        answer = {} if odd else judgement(request.match_info["route"], body, self._script.meanings)
        self._script.leave(entry, "ok" if fault is None else str(fault.fails), answer.get("answers"))
        text = json.dumps({"model": self._script.answers_as or entry.call.model, **answer})
        whole = fault is None or fault.fails != "truncated"
        return web.Response(text=text if whole else text[: len(text) // 2], content_type="application/json")

    def _parse(self, body: Mapping[str, object], options: str | None) -> ChatCall:
        listed = body.get("messages")
        messages = tuple((str(m["role"]), m.get("content")) for m in listed) if isinstance(listed, list) else ()
        return self._call(body, messages, options)

    def _call(
        self, body: Mapping[str, object], messages: tuple[tuple[str, object], ...], options: str | None
    ) -> ChatCall:
        model = str(body.get("model", ""))
        digest = digest_of(model, messages)
        return ChatCall(
            number=len(self._script.calls) + 1,
            attempt=self._script.attempt(digest),
            model=model,
            messages=messages,
            params={name: value for name, value in body.items() if name not in _SAID},
            options=json.loads(options or "{}"),
            digest=digest,
            by_binding=options is not None,
        )

    async def _answer(self, request: web.Request, entry: CallEntry, fault: Fault | None) -> web.StreamResponse:
        if (failed := await self._failed(request, entry, fault)) is not None:
            return failed
        reply = _faulty_reply(fault) or self._reply(entry.call)
        whole = fault is None or fault.fails != "truncated"
        self._script.leave(entry, "ok" if fault is None else str(fault.fails), reply.content)
        call = replace(entry.call, model=self._script.answers_as or entry.call.model)
        if call.streams:
            return await _stream(request, call, reply, whole=whole)
        body = json.dumps(_completion(call, reply))
        return web.Response(text=body if whole else body[: len(body) // 2], content_type="application/json")

    async def _failed(self, request: web.Request, entry: CallEntry, fault: Fault | None) -> web.Response | None:
        """The failure that a fault orders in place of an answer, after the latency; None where there is none."""
        latency = self._script.latency
        await asyncio.sleep(latency(entry.call) if callable(latency) else latency)
        if fault is not None and isinstance(fault.fails, int):
            self._script.leave(entry, f"error {fault.fails}")
            return _error(fault)
        if fault is not None and fault.fails in {"hang", "disconnect", "garbage"}:
            return await self._break(request, entry, fault)
        return None

    def _reply(self, call: ChatCall) -> Reply:
        for rule in self._script.rules:
            answer = rule(call)
            if answer is not None:
                return answer if isinstance(answer, Reply) else Reply(answer)
        return Reply(nothing_found(call))

    async def _break(self, request: web.Request, entry: CallEntry, fault: Fault) -> web.Response:
        if fault.fails == "hang":
            await self._script.hang(entry)
        self._script.leave(entry, str(fault.fails))
        if fault.fails == "garbage":
            return web.Response(text="<html>not what you asked for</html>", content_type="text/html")
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


def _faulty_reply(fault: Fault | None) -> Reply | None:
    odd: Mapping[object, object] = {"empty": "", "null": None, "numeric": _NUMBER}
    return Reply(odd[fault.fails]) if fault is not None and fault.fails in odd else None


def _error(fault: Fault) -> web.Response:
    headers = {"retry-after": f"{fault.retry_after:g}"} if fault.retry_after is not None else None
    return web.json_response(
        {"error": {"message": fault.message, "code": fault.status}}, status=fault.status, headers=headers
    )


def _finished(call: ChatCall, reply: Reply) -> tuple[object, str, Mapping[str, object]]:
    """The content within `max_tokens`, the reason why it ends, and the usage."""
    content, cut = reply.content, False
    if isinstance(content, str):
        content, cut = cut_to_tokens(content, call.max_tokens)
    usage = reply.usage if reply.usage is not None else _usage(call, content)
    return content, "length" if cut else "stop", usage


def _usage(call: ChatCall, content: object) -> Mapping[str, object]:
    prompt = call.prompt_tokens
    completion = max(1, count_tokens(content if isinstance(content, str) else json.dumps(content)))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(call: ChatCall, reply: Reply) -> dict[str, object]:
    content, reason, usage = _finished(call, reply)
    message = {"role": "assistant", "content": content, **reply.extra}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {
        "id": f"call-{call.number}",
        "object": "chat.completion",
        "model": call.model,
        "choices": [choice],
        "usage": usage,
    }


async def _stream(request: web.Request, call: ChatCall, reply: Reply, *, whole: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in _events(call, reply, whole=whole):
        await response.write(f"data: {event}\n\n".encode())
    await response.write_eof()
    return response


def _events(call: ChatCall, reply: Reply, *, whole: bool) -> Iterable[str]:
    content, reason, usage = _finished(call, reply)
    pieces: list[object] = [*re.findall(r"\S*\s*", content)][:-1] if isinstance(content, str) else [content]
    for piece in pieces if whole else pieces[: len(pieces) // 2]:
        yield json.dumps({"model": call.model, "choices": [{"index": 0, "delta": {"content": piece}}]})
    if whole:
        yield json.dumps({"model": call.model, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        yield json.dumps({"model": call.model, "choices": [], "usage": usage})
        yield "[DONE]"


class _Control:
    def __init__(self, script: Script) -> None:
        self._script = script

    async def show(self, _request: web.Request) -> web.Response:
        script = self._script
        shown = {
            "calls": len(script.calls),
            "answered": len(script.answered),
            "inFlight": script.in_flight,
            "peak": script.peak,
        }
        return web.json_response({**shown, "faults": [str(fault) for fault in script.faults]})

    async def change(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        try:
            self._apply(wanted)
        except (ValueError, TypeError, re.error) as error:
            return web.json_response({"error": {"message": str(error)}}, status=422)
        return await self.show(request)

    def _apply(self, wanted: Mapping[str, object]) -> None:
        rules, faults = wanted.get("rules"), wanted.get("faults")
        new_rules = [rule_from_json(spec) for spec in rules] if isinstance(rules, list) else None
        new_faults = [fault_from_json(spec) for spec in faults] if isinstance(faults, list) else None
        rate = wanted.get("rate")
        new_rate = rate_from_json(rate) if isinstance(rate, dict) else None
        if wanted.get("reset"):
            self._script.reset()
        if new_rules is not None:
            self._script.rules = new_rules
        if new_faults is not None:
            self._script.faults = new_faults
        if "rate" in wanted:
            self._script.rate = new_rate
        for name in {"latency", "capacity", "window", "queue_seconds"} & wanted.keys():
            setattr(self._script, name, wanted[name])

    async def calls(self, request: web.Request) -> web.Response:
        since, with_text = int(request.query.get("since", "0")), request.query.get("text") == "1"
        entries = [entry.as_json(with_text=with_text) for entry in self._script.calls[since:]]
        return web.json_response({"calls": entries, "total": len(self._script.calls)})

    async def reset(self, _request: web.Request) -> web.Response:
        self._script.reset()
        return web.json_response({"calls": 0})
