"""Compressing a layer beside the thread that makes it."""

import queue
import threading

from tiffin.layer.compress import gzip_writer
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.content.store import BlobWriter
    from tiffin.layer.compress import Digest

_AHEAD = 8  # pieces held at most


class Compressor:
    """Compresses to a blob in a thread, a few pieces behind its writer; feeds `digest`, if one is given, what it is
    given. Both are left to C, so that two processors are used. Leaving its context without an exception means
    that everything is in the blob; an error of the thread is raised by the next call."""

    def __init__(self, blob: "BlobWriter", digest: "Digest | None" = None) -> None:
        self._blob = blob
        self._digest = digest
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="compress layer", daemon=True)

    def _run(self) -> None:
        piece: bytes | None = b""
        try:
            with gzip_writer(self._blob) as out:
                while (piece := self._pieces.get()) is not None:
                    if self._digest is not None:
                        self._digest.update(piece)
                    out.write(piece)
        except Exception as error:  # noqa: BLE001 - carried to the thread that waits for it
            self._error = error
            while piece is not None:  # until the writer ends: it must not wait for room in the queue
                piece = self._pieces.get()

    def write(self, data: bytes) -> int:
        """Take `data`, which nobody changes any more."""
        if self._error is not None:
            raise self._error
        self._pieces.put(data)
        return len(data)

    def __enter__(self) -> "Compressor":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pieces.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
