"""A proxy that cuts connections: each one after a given number of bytes of its answer."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

UNCUT = 1 << 60


class CuttingProxy:
    """Forwards connections to `target`; the n-th is cut after the n-th of `cuts`, later ones not at all."""

    def __init__(self, target: str, cuts: Iterable[int]) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._cuts = deque(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = 0

    def serve(self) -> None:
        """Accept until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                limit = self._cuts.popleft() if self._cuts else UNCUT
                threading.Thread(target=self._forward, args=(near, limit), daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _forward(self, near: socket.socket, limit: int) -> None:
        with near, socket.create_connection(self._target) as far:
            threading.Thread(target=_pump, args=(near, far), daemon=True).start()
            with suppress(OSError):
                self._answer(far, near, limit)
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _answer(self, far: socket.socket, near: socket.socket, limit: int) -> None:
        while limit and (data := far.recv(65_536)):
            near.sendall(data[:limit])
            limit -= min(limit, len(data))
        self.cut += limit == 0


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)


@contextmanager
def cutting(target: str, cuts: Iterable[int]) -> Iterator[CuttingProxy]:
    """Serve a cutting proxy until the block ends."""
    proxy = CuttingProxy(target, cuts)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
