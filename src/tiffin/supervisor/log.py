"""The container's log on disk, in the form of Docker's json-file driver.

One JSON object a line: {"log":"text\\n","stream":"stdout","time":"2024-01-02T03:04:05.678901234Z"}. A line longer
than 16 KiB comes in several objects, all but the last without the newline, as Docker cuts them. `container.log` is the
newest file; rotation renames it to `container.log.1` and so on.
"""

import os
import time
from json.encoder import encode_basestring

from tiffin.containers.record import LogConfig

PIECE = 16 * 1024
NAME = "container.log"


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits of the second."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    parts = time.gmtime(seconds)
    return (
        f"{parts.tm_year:04}-{parts.tm_mon:02}-{parts.tm_mday:02}T"
        f"{parts.tm_hour:02}:{parts.tm_min:02}:{parts.tm_sec:02}.{rest:09}Z"
    )


class JsonLog:
    """Appends to one container's log. One writer at a time: the supervisor. A line reaches the file whole, in one
    write, so that a killed supervisor leaves at most one cut line, which the next writer closes."""

    def __init__(self, directory: str, config: LogConfig) -> None:
        self._path = f"{directory}/{NAME}"
        self._config = config
        self._rest: dict[str, bytes] = {}
        self._fd = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._size += os.write(self._fd, b"\n")

    def write(self, stream: str, data: bytes) -> None:
        """Log what came from `stream`; an unfinished line is held until it is finished, full, or `flush`."""
        rest = self._rest.get(stream)
        if rest:
            data = rest + data
        whole, newline, rest = data.rpartition(b"\n")
        if len(rest) >= PIECE:
            whole, newline, rest = data, b"", b""
        self._rest[stream] = rest
        if whole or newline:
            self._append(_encode(stream, whole + newline, timestamp(time.time_ns())))

    def flush(self) -> None:
        """Log unfinished lines as they are: the stream has ended."""
        for stream, rest in self._rest.items():
            if rest:
                self._append(_encode(stream, rest, timestamp(time.time_ns())))
        self._rest.clear()

    def close(self) -> None:
        """Flush and close. Idempotent."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def _append(self, text: str) -> None:
        view = memoryview(text.encode())
        if self._config.max_size and self._size and self._size + len(view) > self._config.max_size:
            self._rotate()
        self._size += len(view)
        while view:
            view = view[os.write(self._fd, view) :]

    def _rotate(self) -> None:
        os.close(self._fd)
        if self._config.max_file > 1:
            for number in range(self._config.max_file - 1, 0, -1):
                older = f"{self._path}.{number}"
                newer = f"{self._path}.{number - 1}" if number > 1 else self._path
                try:
                    os.rename(newer, older)
                except FileNotFoundError:
                    pass
        else:
            os.unlink(self._path)
        self._open()


def _encode(stream: str, data: bytes, when: str) -> str:
    """`data` as log lines; without a final newline the last object has none either."""
    close = f'","stream":"{stream}","time":"{when}"}}\n'
    text = data.decode("utf-8", "replace")
    ended = text.endswith("\n")
    # One C pass for the whole batch, when no "\n" in the encoded text can be anything but a line's end and no
    # line is over long: this is what keeps up with `yes`.
    if "\\" not in text and len(max(data.split(b"\n"), key=len)) < PIECE:
        body = encode_basestring(text[:-1] if ended else text)[1:-1]
        lines = body.replace("\\n", f'\\n{close}{{"log":"')
        return f'{{"log":"{lines}{chr(92) + "n" if ended else ""}{close}'
    pieces = []
    *whole, rest = data.split(b"\n")
    if rest:
        whole.append(rest)
    for number, line in enumerate(whole, 1):
        last = max(len(line) - 1, 0) // PIECE * PIECE
        for start in range(0, last + 1, PIECE):
            piece = line[start : start + PIECE].decode("utf-8", "replace")
            if start == last and not (rest and number == len(whole)):
                piece += "\n"
            pieces.append(f'{{"log":{encode_basestring(piece)}{close[1:]}')
    return "".join(pieces)
