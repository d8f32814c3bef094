"""The head of a response, read within bounds and to its end: `http.client` limits a line and the number of headers of
one head, but not how many provisional heads come before, how many trailers after, or for how long a head may drip in;
and it takes a head that breaks off for a whole one, whose missing headers then mean something else."""

from __future__ import annotations

import http.client
import time

from tiffin.typed import Any, BinaryIO

HEAD_MAX = 256 << 10  # bytes of all heads of one response
HEAD_SECONDS = 300.0
_TRAILERS_MAX = 100
_LINE_MAX = 64 << 10


class HeadTooLong(http.client.HTTPException):
    """More than a head may have, or for longer than it may take."""


class BoundedResponse(http.client.HTTPResponse):
    """http.client's response, whose heads and trailers end."""

    def begin(self) -> None:
        fp: Any = self.fp
        limited: Any = _Limited(fp)
        self.fp = limited
        try:
            super().begin()
        finally:
            if self.fp is limited:
                self.fp = fp

    def _read_and_discard_trailer(self) -> None:  # http.client's own name for the step after the last chunk
        for _ in range(_TRAILERS_MAX):
            if self.fp.readline(_LINE_MAX) in (b"\r\n", b"\n", b""):
                return
        raise HeadTooLong("trailers without end")


class _Limited:
    """The stream while a head is read from it."""

    def __init__(self, fp: BinaryIO) -> None:
        self._fp = fp
        self._left = HEAD_MAX
        self._until = time.monotonic() + HEAD_SECONDS
        self._begun = False

    def readline(self, size: int = -1) -> bytes:
        line = self._fp.readline(size)
        if not line.endswith(b"\n") and len(line) < size and (line or self._begun):
            raise ConnectionResetError("the connection ended within the headers")
        self._begun = True
        self._left -= len(line)
        if self._left < 0 or time.monotonic() > self._until:
            raise HeadTooLong("headers without end")
        return line

    def close(self) -> None:
        self._fp.close()

    def flush(self) -> None:
        self._fp.flush()
