"""What an isolate knows of the registry: asked for once in a while, so that a request does not pay a round trip."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

# A revoked key is refused everywhere after so many seconds.
CACHING_SECONDS = 30.0
# A key that is not known may have been added just now: strangers cannot have the list read more often than this.
RECHECK_SECONDS = 2.0

# Name, digest, end in seconds since the epoch.
ActiveKey = tuple[str, str, float | None]


class KeyRing:
    """The active keys; a list that cannot be read again is not used beyond its time."""

    def __init__(self) -> None:
        self._keys: tuple[ActiveKey, ...] = ()
        self._read_at = float("-inf")

    async def names_by_digest(
        self, read: Callable[[], Awaitable[Sequence[ActiveKey]]], now: float, *, recheck: bool = False
    ) -> list[tuple[str, str]]:
        """Name and digest of each key that admits now; raises what `read` raises."""
        if now - self._read_at > (RECHECK_SECONDS if recheck else CACHING_SECONDS):
            self._keys = tuple(await read())
            self._read_at = now
        return [(name, digest) for name, digest, end in self._keys if end is None or now < end]
