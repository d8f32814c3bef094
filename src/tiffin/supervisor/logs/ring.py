"""Log option mode=non-blocking: a bounded buffer between the container's output and a slow log.

The log is written by a thread of its own. What comes while `max-buffer-size` bytes wait is dropped, as with Docker, so
that no log however slow holds the container back.
"""

import threading
from collections import deque

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers.record import LogConfig
    from tiffin.supervisor.logs import LogWriter

DEFAULT_BUFFER = 1 << 20
_LAST = 10.0  # seconds that the log gets to take what waits at the end


class Ring:
    """A LogWriter in front of another."""

    def __init__(self, log: "LogWriter", config: "LogConfig") -> None:
        self._log = log
        self._limit = config.buffer_size or DEFAULT_BUFFER
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, stream: str, data: bytes) -> None:
        with self._changed:
            if self._size + len(data) > self._limit and self._waiting:
                return
            self._waiting.append((stream, data))
            self._size += len(data)
            self._changed.notify()

    def flush(self) -> None:
        """Unfinished lines are flushed at the end."""

    def close(self) -> None:
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._changed.notify()
        self._thread.join(_LAST)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._waiting:
                    break
                stream, data = self._waiting.popleft()
                self._size -= len(data)
            self._log.write(stream, data)
        self._log.close()
