"""Unpacking a layer while its tar is written, so that who made it need not read it again.

writer ─ write ─▶ a few pieces held ─▶ apply_layer, in a thread of its own ─▶ the directory
"""

from __future__ import annotations

import queue
import threading

from tiffin.layer.apply import Applied, apply_layer
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.layer.tarwriter import Writable

_AHEAD = 8  # pieces held at most, of a megabyte each as `TarWriter` makes them


class Applier:
    """Passes on to `out` what it is given, and unpacks it to the empty directory `dest_fd` as `apply_layer` does.
    Leaving its context without an exception means that all of it is there, and `applied` says what; `written` are the
    bytes of the tar. An error of the thread is raised by the next call. After any error the directory holds a part, and
    is to be thrown away."""

    def __init__(self, dest_fd: int, out: Writable) -> None:
        self._out = out
        self._pieces: queue.Queue[bytes] = queue.Queue(_AHEAD)  # b"" is the end
        self._piece, self._at = b"", 0
        self._error: Exception | None = None
        self.applied = Applied(0, 0)
        self.written = 0
        self._thread = threading.Thread(target=self._run, args=(dest_fd,), name="unpack layer", daemon=True)

    def _run(self, dest_fd: int) -> None:
        try:
            self.applied = apply_layer(self, dest_fd)
        except Exception as error:  # noqa: BLE001 - carried to the thread that waits for it
            self._error = error
            while self._next():  # until the writer ends: it must not wait for room in the queue
                pass

    def _next(self) -> bytes:
        self._piece, self._at = self._pieces.get(), 0
        return self._piece

    def read(self, size: int, /) -> bytes:
        """For the thread: what comes next, at most `size` bytes."""
        if self._at == len(self._piece) and not self._next():
            self._pieces.put(b"")  # the end stays the end, however often it is asked for
            return b""
        data = self._piece[self._at : self._at + size]
        self._at += len(data)
        return data

    def write(self, data: bytes, /) -> int:
        """Take `data`, which nobody changes any more."""
        if self._error is not None:
            raise self._error
        self._out.write(data)
        if data:
            self._pieces.put(data)
            self.written += len(data)
        return len(data)

    def __enter__(self) -> Applier:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pieces.put(b"")
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
