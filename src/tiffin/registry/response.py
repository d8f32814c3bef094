"""A response whose body is read by its caller, in bounds; and what a failed exchange is called."""

from __future__ import annotations

from tiffin.errors import LimitExceeded, TiffinError, TransferError
from tiffin.oci.reference import shown
from tiffin.registry.origin import origin_of
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from tiffin.registry.redact import Redactor
    from tiffin.registry.transport import Transport

HEADER_MAX = 64 << 10  # characters of one header; http.client reads no more of one, and 100 of them
_DRAINED = 64 << 10  # bytes worth reading to keep a connection
_DOCUMENT_PATIENCE = 4  # stall timeouts within which a document must have come whole


class BrokenOff(TransferError):
    """An exchange that ended before its end: reset, stalled, cut short. Worth another try."""

    stalled = False  # it took a whole stall timeout to see
    in_body = False  # the answer had begun, so that the transport could not ask again


class Unreachable(TransferError):
    """Nothing was sent: no connection, or no TLS on it. Another endpoint may do."""

    worth_retrying = True


class Response:
    """Status, headers and unread body. A context manager; closing it early costs the connection when much is
    unread."""

    def __init__(self, raw: Any, url: str, transport: Transport) -> None:
        self._raw = raw
        self._transport = transport
        self.url = url
        self.status: int = raw.status

    def header(self, name: str) -> str:
        """A header by its name in lower case, several joined by ", "; "" when there is none."""
        return str(self._raw.headers.get(name, ""))[:HEADER_MAX]

    @property
    def length(self) -> int:
        """The stated length of the body in bytes; -1 when it is not stated."""
        text = self.header("content-length")
        if self.header("transfer-encoding") or not (text.isascii() and text.isdigit() and len(text) < 20):
            return -1
        return int(text)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, waited for; b"" at the end. Raises BrokenOff when the body breaks off, which is also
        when fewer bytes came than its length says."""
        from tiffin.registry.pools import logged_through

        redactor = self._transport.redact
        self._transport.waiting.check()
        try:
            with logged_through(redactor):
                data: bytes = self._raw.read(size, decode_content=False)
        except Exception as error:  # noqa: BLE001 - urllib3 lets through whatever http.client and ssl raise
            self._raw.close()
            raise failure_of(error, f"the transfer from {origin_of(self.url)}", redactor) from None
        return data

    def document(self, limit: int, what: str) -> bytes:
        """The whole body, which is then closed. Raises LimitExceeded past `limit` bytes, TransferError when it takes
        too long or breaks off."""
        if self.length > limit:
            self._raw.close()
            raise LimitExceeded(f"{what} has {self.length} bytes; {limit} at most")
        waiting = self._transport.waiting
        deadline = waiting.clock() + self._transport.settings.stall_timeout * _DOCUMENT_PATIENCE
        pieces, total = [], 0
        while piece := self._read_some(min(limit + 1 - total, 64 << 10)):
            pieces.append(piece)
            total += len(piece)
            if total > limit or waiting.clock() > deadline:
                self._raw.close()
                if total > limit:
                    raise LimitExceeded(f"{what} has more than {limit} bytes")
                raise BrokenOff(f"{what} comes too slowly from {origin_of(self.url)}")
        self._release()
        return b"".join(pieces)

    def abort(self) -> None:
        """From another thread: end a read that waits for bytes. What that read returns is not to be used. Raises
        nothing: a response that has ended does not mind."""
        try:
            self._raw.shutdown()
        except (AttributeError, OSError, RuntimeError, ValueError):
            pass  # an urllib3 before 2.3; or nothing is open any more

    def close(self) -> None:
        """Give the connection back, or close it when much is unread. Idempotent, raises nothing."""
        try:
            if 0 <= self.length <= _DRAINED or self._raw.length_remaining == 0:
                self._raw.read(_DRAINED + 1, decode_content=False)
                self._release()
        except Exception:  # noqa: BLE001, S110 - whatever it is, the connection is closed below
            pass
        self._raw.close()

    def _read_some(self, size: int) -> bytes:
        """As `read`, but returns what is there: a drop now and then is seen, and bounded, by the caller."""
        from tiffin.registry.pools import logged_through

        try:
            with logged_through(self._transport.redact):
                data: bytes = self._raw.read1(size, decode_content=False)
        except Exception as error:  # noqa: BLE001 - as in read
            self._raw.close()
            failed = failure_of(error, f"the answer of {origin_of(self.url)}", self._transport.redact)
            if isinstance(failed, BrokenOff):
                failed.in_body = True
            raise failed from None
        return data

    def _release(self) -> None:
        self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def failure_of(error: Exception, doing: str, redact: Redactor, *, connecting: bool = False) -> TiffinError:
    """What an exception of urllib3, http.client or ssl means, in one line that has gone through the sink; `connecting`
    says that nothing had been sent."""
    import urllib3.exceptions as known

    if isinstance(error, TiffinError):
        return error
    reason = shown(redact(_reason(error)))
    if connecting or isinstance(
        error, (known.NewConnectionError, known.ConnectTimeoutError, known.ProxyError)
    ):
        return _unreachable(error, doing, reason)
    if isinstance(error, known.ReadTimeoutError):
        failed = BrokenOff(f"{doing}: no byte came for too long")
        failed.stalled = True
        return failed
    if isinstance(error, (known.ProtocolError, known.SSLError, OSError)):
        return BrokenOff(f"{doing}: {reason}")
    return TransferError(f"{doing}: {reason}")


_LASTING = ("refused", "not known", "timed out", "CERTIFICATE", "certificate", "WRONG_VERSION")


def _unreachable(error: Exception, doing: str, reason: str) -> Unreachable:
    import urllib3.exceptions as known

    tls = isinstance(error, known.SSLError)
    failed = Unreachable(f"{doing}: {'no TLS: ' if tls else ''}{reason}{_advice(reason)}")
    failed.worth_retrying = not any(word in reason for word in _LASTING)
    return failed


def _advice(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "; put its authority's certificate into certs.d, or list the registry as insecure"
    if "WRONG_VERSION_NUMBER" in reason:
        return "; it speaks plain http: list the registry as insecure to allow that"
    return ""


def _reason(error: Exception) -> str:
    """The innermost text that says something, without urllib3's object names."""
    for inner in (getattr(error, "original_error", None), *error.args[::-1]):
        if isinstance(inner, Exception):
            return _reason(inner)
    text = str(getattr(error, "strerror", "") or error) or type(error).__name__
    return text.rpartition("> : ")[2].rpartition(">: ")[2]
