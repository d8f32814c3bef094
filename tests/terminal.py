"""A user at a terminal: a program behind a real pty, what it shows, what is typed, and the state of the line.

    with Terminal(tiffin.argv("run", "-it", "busybox", "sh")) as at:
        at.expect("/ # ")
        at.type("stty size\\r")
        at.expect("24 80")
        assert at.raw
        at.type("exit 3\\r")
        assert at.wait() == 3
        assert not at.raw

The program leads a session of its own with the pty as its controlling terminal, so that what is typed raises signals
and what hangs up tells it so. Nothing sleeps: `expect` and `until` wait for what they name.
"""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl

PATIENCE = 30.0


class Terminal:
    """`rows` and `columns` 0 make a terminal without a size. `shown` is everything that came so far."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        rows: int = 24,
        columns: int = 80,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        self.master, self.end = pty.openpty()
        self.shown = ""
        self._seen = 0
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.end)
        self.process = subprocess.Popen(
            argv,
            stdin=self.end if stdin is None else stdin,
            stdout=self.end if stdout is None else stdout,
            stderr=self.end,
            start_new_session=True,
            preexec_fn=lambda: ioctl(self.end, termios.TIOCSCTTY, 0),
            pass_fds=(self.end,),
            env={**os.environ, **(env or {})},
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, and end the program if that did not."""
        self.hang_up()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def hang_up(self) -> None:
        """Close the terminal's window."""
        for fd in (self.end, self.master):
            if fd >= 0:
                os.close(fd)
        self.master = self.end = -1

    def type(self, text: str | bytes) -> None:
        """Send keys. Enter is \\r, control-C is \\x03."""
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self.master, data) :]

    def resize(self, rows: int, columns: int) -> None:
        """Change the window; the foreground process group gets SIGWINCH."""
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """To the program alone."""
        self.process.send_signal(number)

    def expect(self, pattern: str, seconds: float = PATIENCE) -> "re.Match[str]":
        """Wait until what was shown since the last match has the pattern."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown[self._seen :])):
            ended = self.process.poll() is not None
            if not self._read(0.0 if ended else 0.05):
                assert not ended, f"it ended ({self.process.returncode}) before {pattern!r}: {self.shown!r}"
                assert time.monotonic() < deadline, f"no {pattern!r} in time: {self.shown[-4000:]!r}"
        self._seen += found.end()
        return found

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Read on until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen in time: {self.shown[-4000:]!r}"
            self._read(0.02)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The program's exit status, negative for a signal; everything that it showed is in `shown` then."""
        self.until(lambda: self.process.poll() is not None, seconds)
        while self._read(0.0):
            pass
        return self.process.returncode

    def until_full(self) -> None:
        """Read nothing until the program can write no more, and waits. That the terminal takes no more does not say
        so: it may have room again and not have told who waits for it, until somebody reads."""
        deadline = time.monotonic() + PATIENCE
        last, steady = self._writes(), 0
        while steady < 5:
            assert time.monotonic() < deadline, "the program went on writing to a terminal that nobody reads"
            time.sleep(0.05)
            now = self._writes()
            steady = steady + 1 if now == last and self._state() == "S" else 0
            last = now

    def _writes(self) -> str:
        with open(f"/proc/{self.process.pid}/io") as file:
            return next(line for line in file if line.startswith("syscw"))

    def _state(self) -> str:
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def read_for(self, seconds: float) -> None:
        """Take what is shown within the time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.shown += os.read(self.master, 65536).decode(errors="replace")
        return True

    @property
    def raw(self) -> bool:
        """Whether keys go through one by one: neither lines, echo, nor signals of the terminal's own."""
        return not termios.tcgetattr(self.end)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    @property
    def restored(self) -> bool:
        """Whether the line is exactly as it was before the program."""
        return termios.tcgetattr(self.end) == self.before

    @property
    def stopped(self) -> bool:
        """Whether the program is suspended (its parent is this process)."""
        return self._state() == "T"

    def suspend_and_continue(self) -> None:
        """kill -TSTP, wait for it, kill -CONT."""
        self.signal(signal.SIGTSTP)
        self.until(lambda: self.stopped)
        self.signal(signal.SIGCONT)
