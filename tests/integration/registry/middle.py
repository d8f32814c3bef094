"""What stands between a client and a registry: passes bytes on, counts those that come back, and can hold them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator


class Middle:
    """A TCP forwarder on loopback. A connection that has answered `hold_after` bytes waits until `release`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.answered = 0
        self.hold_after = 1 << 62
        self.holding = threading.Event()
        self._released = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def hold(self, after: int) -> None:
        """Let each connection answer `after` bytes and no more."""
        self._released.clear()
        self.holding.clear()
        self.hold_after = after

    def release(self) -> None:
        self.hold_after = 1 << 62
        self._released.set()

    def close(self) -> None:
        self._closed.set()
        self.release()
        self._server.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(self._target) as server,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            answered = 0
            while not self._closed.is_set():
                for key, _ in selector.select(0.1):
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        data = source.recv(1 << 16)
                        if source is server and data:
                            answered += len(data)
                            self._pass(len(data), answered)
                        if not data or self._closed.is_set():
                            return
                        sink.sendall(data)
                    except OSError:
                        return

    def _pass(self, size: int, answered: int) -> None:
        """Note `size` bytes of a connection that has answered so many in all, and let them go when it may."""
        if answered > self.hold_after:
            self.holding.set()
            self._released.wait()
        with self._lock:
            self.answered += size


@contextlib.contextmanager
def middle(target: str) -> Iterator[Middle]:
    """A forwarder to HOST:PORT; gone with the context."""
    made = Middle(target)
    try:
        yield made
    finally:
        made.close()
