"""The frames that a supervisor and its clients exchange over a stream socket.

A frame is Docker's attach header and a payload: one byte kind, three zero bytes, the payload's length (u32, big
endian). Kinds 0 to 2 are Docker's own stream numbers, so that a non-tty stream can be passed on as it stands.

    client ──ATTACH(flags)──────────────▶ supervisor     or WAIT, or WATCH: the first frame says what is wanted
           ◀──────────ATTACHED(flags)────                flags: 1 = the container has a tty
           ──STDIN, STDIN_EOF, RESIZE, SIGNAL▶
           ◀─────────────STDOUT, STDERR──
           ◀─────────────────────EXIT────                everything is taken down, and removed with auto_remove

EXIT comes at the end of a run, whether the container runs again or not; to who WATCHes at the end of the last one.

           ──STOP(flags)─────────────────▶               no run follows the one that is now, whatever the policy says;
                                                         flags: 1 = until somebody starts it again
           ──RESTART(signal, seconds)────▶               end this run so, and begin another
           ◀─STARTED or FAILED───────────                of that one
           ──HOLD, with descriptors──────▶               keep them open for as long as this run lasts
           ◀─HELD────────────────────────

The caller of a start holds one end of a socket pair made before the fork. It sees STARTED or FAILED first, and
before that NOTICE for each line that the user should read.
"""

from struct import Struct

from tiffin.errors import Corrupt
from tiffin.typed import Final, Iterator

_HEADER = Struct(">BxxxI")
_EXIT = Struct(">i")
_SIZE = Struct(">HH")
_RESTART = Struct(">Bi")
MAX_PAYLOAD = 1 << 20


class Kind:
    """The first byte of a frame."""

    STDIN: Final = 0
    STDOUT: Final = 1
    STDERR: Final = 2
    STDIN_EOF: Final = 16
    RESIZE: Final = 17
    SIGNAL: Final = 18
    ATTACH: Final = 19
    WAIT: Final = 20
    WATCH: Final = 21
    STOP: Final = 24
    RESTART: Final = 25
    HOLD: Final = 26
    ATTACHED: Final = 32
    STARTED: Final = 33
    FAILED: Final = 34
    EXIT: Final = 35
    CHANGED: Final = 36
    NOTICE: Final = 37
    HELD: Final = 38


class Want:
    """Bits of ATTACH's payload."""

    STDIN: Final = 1
    STDOUT: Final = 2
    STDERR: Final = 4


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return _HEADER.pack(kind, len(payload)) + payload


def exit_payload(code: int) -> bytes:
    return _EXIT.pack(code)


def exit_code(payload: bytes) -> int:
    if len(payload) != _EXIT.size:
        raise Corrupt("a supervisor sent a malformed exit frame")
    code: int = _EXIT.unpack(payload)[0]
    return code


def size_payload(rows: int, columns: int) -> bytes:
    return _SIZE.pack(rows & 0xFFFF, columns & 0xFFFF)


def terminal_size(payload: bytes) -> tuple[int, int]:
    """(rows, columns)"""
    if len(payload) != _SIZE.size:
        raise Corrupt("a client sent a malformed resize frame")
    rows, columns = _SIZE.unpack(payload)
    return rows, columns


def restart_payload(number: int, seconds: int) -> bytes:
    """End the run by signal `number`, and by SIGKILL after `seconds`; -1 waits for ever."""
    return _RESTART.pack(number, min(seconds, 0x7FFFFFFF))


def restart_request(payload: bytes) -> tuple[int, int]:
    """(signal, seconds)"""
    if len(payload) != _RESTART.size:
        raise Corrupt("a client sent a malformed restart frame")
    number, seconds = _RESTART.unpack(payload)
    return number, seconds


class FrameReader:
    """Cuts received bytes into frames. Holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, payload) of every frame that `data` completes. Raises Corrupt for a frame over
        MAX_PAYLOAD; the connection is of no more use then."""
        pending = self._pending
        pending += data
        at = 0
        try:
            while len(pending) - at >= _HEADER.size:
                kind, length = _HEADER.unpack_from(pending, at)
                if length > MAX_PAYLOAD:
                    raise Corrupt(f"a frame of {length} bytes was announced; {MAX_PAYLOAD} is the limit")
                start = at + _HEADER.size
                if len(pending) - start < length:
                    return
                at = start + length
                yield kind, bytes(pending[start:at])
        finally:
            del pending[:at]
