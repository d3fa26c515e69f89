"""Server-sent events as the WHATWG HTML standard writes them."""

from __future__ import annotations

HEARTBEAT = ": still here\n\n"
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}


def encode_event(number: int, kind: str, data: str) -> str:
    """One event; `data` is JSON, which has no raw line breaks."""
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"
