"""A relay between a browser and a server whose connections a test can cut, as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

BLOCK_BYTES = 1 << 18


class Relay:
    """Passes bytes on from a port of its own to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.sent_bytes = 0
        """How many bytes have gone to the server."""
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._refuses = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Cuts every connection, and takes no new one until `mend`; returns how many there were."""
        self._refuses.set()
        with self._guard:
            cut, self._open = self._open, set()
        for one in cut:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return len(cut) // 2

    def mend(self) -> None:
        """Takes connections again."""
        self._refuses.clear()

    def close(self) -> None:
        """Ends it."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses.is_set():
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            with self._guard:
                self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target, target is far), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_to_server: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK_BYTES):
                target.sendall(block)
                if is_to_server:
                    with self._guard:
                        self.sent_bytes += len(block)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            with self._guard:
                self._open.discard(one)


@contextlib.contextmanager
def relay(address: str) -> Iterator[Relay]:
    """A relay to the server at this address, for as long as the block runs."""
    made = Relay(int(address.rpartition(":")[2]))
    try:
        yield made
    finally:
        made.close()
