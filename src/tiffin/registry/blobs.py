"""A blob as it comes from a registry: in order, to the byte, resumed where it broke off."""

from __future__ import annotations

from tiffin.errors import Corrupt, TransferError
from tiffin.registry.response import BrokenOff
from tiffin.registry.waiting import backoff
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tiffin.oci.descriptor import Descriptor
    from tiffin.registry.response import Response
    from tiffin.registry.transport import Transport

    Reopen = Callable[[int], tuple[Response, int]]

_TRIES_WITHOUT_PROGRESS = 5
_RESUMES_MAX = 100
_PROGRESS = 64 << 10  # bytes that count as progress: a server that gives one byte a connection has an end
_SKIP_PIECE = 1 << 20


class BlobStream:
    """The bytes of one blob from `offset` on, to be read once, by one thread. A context manager.

    Every byte is delivered exactly once and in order, whatever breaks on the way, so that a hash over what `read`
    returns (from `offset` 0) is the blob's. That it is the digest's is for the caller to verify.
    """

    def __init__(self, descriptor: Descriptor, offset: int, reopen: Reopen, transport: Transport) -> None:
        self.descriptor = descriptor
        self.resumed = 0
        self._reopen = reopen
        self._transport = transport
        self._response: Response | None = None
        self._failures = 0
        self._since = 0  # bytes since the last failure
        self._ended = False
        self._aborted = False
        self.offset = offset
        """where the stream really starts: 0 when the registry does not know ranges"""
        if offset < descriptor.size or descriptor.size == 0:
            self._response, self.offset = reopen(offset)
        self.position = self.offset

    def read(self, size: int = 1 << 20) -> bytes:
        """Up to `size` bytes, more at once being quicker; b"" when the blob has been delivered to its last byte.
        Raises TransferError when it breaks off too often, Corrupt when there are more bytes, or another number of
        them, than the descriptor says."""
        left = self.descriptor.size - self.position
        while left and size > 0:
            try:
                data = self._opened().read(min(size, left))
                if not data:
                    raise BrokenOff(f"{self._name} ended {left} bytes early")
            except TransferError as error:
                # also one from opening anew: a registry that restarts is away for a while
                self._check()
                self._broke_off(error)
                continue
            self._check()  # what an aborted read returns may be anything, such as TLS that nobody deciphered
            self.position += len(data)
            self._since += len(data)
            if self._since >= _PROGRESS:
                self._failures = 0
            return data
        if not left:
            self._finish()
        return b""

    def abort(self) -> None:
        """From another thread: have `read` raise TransferError from now on, also one that waits for bytes."""
        self._aborted = True
        response = self._response
        if response is not None:
            response.abort()

    def close(self) -> None:
        """Give up or give back the connection. Idempotent."""
        if self._response is not None:
            self._response.close()
            self._response = None

    @property
    def _name(self) -> str:
        return f"blob {self.descriptor.digest[:19]}"

    def _check(self) -> None:
        if self._aborted:
            raise TransferError(f"{self._name}: the transfer was broken off from here")

    def _opened(self) -> Response:
        self._check()
        if self._response is None:
            self._response, start = self._reopen(self.position)
            self._skip(self._response, self.position - start)
        return self._response

    def _skip(self, response: Response, count: int) -> None:
        """The registry began anew: what was delivered is passed over, and the caller's hash tells a changed blob."""
        while count:
            data = response.read(min(count, _SKIP_PIECE))
            if not data:
                raise BrokenOff(f"{self._name} ended while it was resumed")
            count -= len(data)

    def _broke_off(self, error: TransferError) -> None:
        self.close()
        self._failures += 1
        self.resumed += 1
        self._since = 0
        if self._failures >= _TRIES_WITHOUT_PROGRESS or self.resumed > _RESUMES_MAX:
            raise self._transport.failure(
                TransferError,
                f"{self._name} broke off {self.resumed} times, "
                f"{self.position} of {self.descriptor.size} bytes came: {error}",
            )
        self._transport.trace(f"* {error}; resumed at {self.position}")
        self._transport.waiting.sleep(backoff(self._failures))

    def _finish(self) -> None:
        if self._ended:
            return
        self._ended = True
        response = self._response
        if response is not None and response.length < 0:
            try:
                more = response.read(1)
            except TransferError:
                more = b""  # all that was wanted is here
            if more:
                self.close()
                raise Corrupt(f"{self._name} has more than the {self.descriptor.size} bytes that it should")
        self.close()

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start_of(response: Response, descriptor: Descriptor, asked: int) -> int:
    """Where the body of an answer to a request from byte `asked` begins: there, or at 0. Raises Corrupt when the
    answer says that the blob has another size or that these are other bytes (RFC 9110, section 14.4)."""
    import re

    start, total = 0, response.length
    if response.status == 206:
        found = re.fullmatch(
            r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", response.header("content-range").strip()
        )
        if found is None or int(found[1]) != asked or int(found[2]) != descriptor.size - 1:
            raise Corrupt(
                f"blob {descriptor.digest[:19]}: bytes from {asked} on were asked for, others were sent"
            )
        start = asked
        total = descriptor.size if found[3] == "*" else int(found[3])
        if response.length >= 0 and response.length != descriptor.size - asked:
            total = response.length + asked
    if total >= 0 and total != descriptor.size:
        raise Corrupt(f"blob {descriptor.digest[:19]} has {total} bytes there; {descriptor.size} are wanted")
    return start
