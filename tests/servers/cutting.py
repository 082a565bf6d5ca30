"""A wire that is cut after so many bytes, in whichever direction they go."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class CuttingProxy:
    """Forwards connections on loopback to a port, and closes them all after `most_bytes`; None never does.

    Attributes:
        carried: bytes that went either way since it began.
    """

    def __init__(self, port: int, most_bytes: int | None = None) -> None:
        self.most_bytes = most_bytes
        self.carried = 0
        self._target = port
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._ends += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    left = len(data) if self.most_bytes is None else max(self.most_bytes - self.carried, 0)
                    self.carried += len(data[:left])
                target.sendall(data[:left])
                if left < len(data):
                    break
        self._cut()

    def _cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def lead_to(self, port: int) -> None:
        """Forward new connections to another port."""
        self._target = port

    def close(self) -> None:
        """End it, and all that goes through it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would leave it to whoever waits in accept
        self._thread.join(5)
        self._listener.close()
        self._cut()
        for end in self._ends:
            end.close()


@contextlib.contextmanager
def cutting_proxy(port: int, most_bytes: int | None = None) -> Iterator[CuttingProxy]:
    """Such a wire for a block."""
    proxy = CuttingProxy(port, most_bytes)
    try:
        yield proxy
    finally:
        proxy.close()
