"""One connection to a session: what it wants, what it sent, what it has yet to be sent."""

import os
import time

from tiffin.errors import Corrupt
from tiffin.kernel import sockets as socket
from tiffin.supervisor.frames import FrameReader, Want, frame
from tiffin.typed import Iterator

HIGH_WATER = 256 * 1024  # more than this unsent to one client, and the container's output is left in its pipe
_CHUNK = 64 * 1024
_MOST_DESCRIPTORS = 253  # of one message, as the kernel has it
STALLED = 600.0  # seconds that a client which takes nothing can hold a container's output back


class Client:
    """Never blocks: `queue` holds frames back, `flush` sends what the socket takes. `open` turns False for good
    when the peer is gone; `had_stdin` stays true of one that ever had the input. `wants` has bits of
    frames.Want; `watching` asks for CHANGED at growth of the log. `descriptors` came with its frames, and
    are closed with it."""

    def __init__(self, connection: socket.socket, wants: int = 0) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.watching = False
        self.asked = True
        self.restarting = False
        self.leaving = False
        self.open = True
        self.descriptors: list[int] = []
        self.had_stdin = False
        self.want(wants)
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._stuck_since = 0.0  # when the socket last took nothing; 0 while it takes what it is given

    def fileno(self) -> int:
        return self.connection.fileno()

    def want(self, wants: int) -> None:
        """Set what the client is sent, and whether its input is taken."""
        self.wants = wants
        self.had_stdin = self.had_stdin or bool(wants & Want.STDIN)

    @property
    def backlog(self) -> int:
        """Bytes queued and not yet taken by the socket."""
        return len(self._unsent)

    def is_stalled(self) -> bool:
        """Whether the peer has taken nothing for so long that nobody should wait for it any more."""
        return self._stuck_since > 0 and time.monotonic() - self._stuck_since > STALLED

    def queue(self, kind: int, payload: bytes = b"") -> None:
        """Send a frame, now if the socket takes it."""
        if not self.open:
            return
        self._unsent += frame(kind, payload)
        self.flush()

    def flush(self) -> None:
        """Send as much as the socket takes."""
        while self._unsent and self.open:
            try:
                sent = self.connection.send(memoryview(self._unsent)[: 4 * _CHUNK])
            except BlockingIOError:
                self._stuck_since = self._stuck_since or time.monotonic()
                return
            except OSError:
                self.close()
                return
            self._stuck_since = 0.0
            del self._unsent[:sent]

    def receive(self) -> Iterator[tuple[int, bytes]]:
        """The frames that have arrived. Closes at the peer's end, and at anything that is no frame."""
        try:
            data, descriptors = socket.recv_fds(self.connection, _CHUNK, _MOST_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self.descriptors += descriptors
        if not data:
            self.close()
            return
        try:
            yield from self._reader.feed(data)
        except Corrupt:
            self.close()

    def leave(self) -> None:
        """Take nothing from it any more, and let it have what is queued."""
        self.leaving = True
        self.had_stdin = False
        self.wants = 0

    def close(self) -> None:
        """Idempotent."""
        if self.open:
            self.open = False
            self.wants = 0
            self._unsent.clear()
            self.connection.close()
            for fd in self.descriptors:
                os.close(fd)
            self.descriptors = []
