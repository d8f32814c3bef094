"""A thread that works ahead of an iterator's consumer, a bounded number of pieces."""

from __future__ import annotations

import queue
import threading

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_AHEAD = 4  # pieces, of 1 MiB each here


class ReadAhead:
    """The pieces of another iterator, made up to four ahead in a thread of ours. An exception there is raised
    here, in its place. `close` ends the thread and waits for it; it also ends by itself after the last piece.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._queue: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._closing = False
        self._done = False
        self._thread = threading.Thread(target=self._work, args=(pieces,), name="read-ahead", daemon=True)
        self._thread.start()

    def _work(self, pieces: Iterator[bytes]) -> None:
        try:
            for piece in pieces:
                self._room.acquire()
                if self._closing:
                    return
                self._queue.put(piece)
        except BaseException as error:  # noqa: BLE001 - carried to the consumer, who raises it
            self._queue.put(error)
        else:
            self._queue.put(None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._done:
            raise StopIteration
        piece = self._queue.get()
        if isinstance(piece, bytes):
            self._room.release()
            return piece
        self._done = True
        self._thread.join()
        if piece is None:
            raise StopIteration
        raise piece

    def close(self) -> None:
        """End the thread. The step that it is in (one read and one piece) is waited for. Idempotent."""
        self._closing = self._done = True
        self._room.release()
        self._thread.join()
