"""What the platform throws, thrown as JavaScript throws it."""

from __future__ import annotations

import js


def throw(message: str) -> None:
    """Throws an error of JavaScript's; in Python that is a `JsException`."""
    js.AbortSignal.abort(js.Error.new(message)).throwIfAborted()
