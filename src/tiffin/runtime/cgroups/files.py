"""Control files: one write is one system call, and what the kernel answers becomes a sentence."""

from __future__ import annotations

import errno
import os
import time

from tiffin.errors import EngineError, InvalidArgument

# Of what a process being killed may need to go: its memory freed, its io ended.
PATIENCE = 5.0
_SIGKILL = 9  # the signal module costs a short command an enum


def write(directory: str, name: str, value: str | int) -> None:
    """Raises InvalidArgument for a value that the kernel refuses, FileNotFoundError, EngineError."""
    path = f"{directory}/{name}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ERANGE, errno.E2BIG):
            raise InvalidArgument(f"{name}: the kernel refuses {value!r}: {error.strerror}") from error
        raise EngineError(f"cannot write {value!r} to {path}: {error.strerror}") from error


def open_all(paths: list[str]) -> list[int]:
    """Descriptors to write to the files by, of all or of none. Raises FileNotFoundError, EngineError."""
    opened: list[int] = []
    try:
        for path in paths:
            opened.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 - kept when the next fails
    except OSError as error:
        for fd in opened:
            os.close(fd)
        if isinstance(error, FileNotFoundError):
            raise
        raise EngineError(f"cannot open {error.filename}: {error.strerror}") from error
    return opened


def write_weight(directory: str, name: str, value: str | int, warnings: list[str]) -> None:
    """`write` for a weight of block I/O, which not every I/O scheduler has."""
    try:
        write(directory, name, value)
    except EngineError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EOPNOTSUPP:
            raise
        device = str(value).partition(" ")[0]
        warnings.append(
            f"the I/O scheduler of device {device} has no weights, as bfq has; its weight is not set"
        )


def read(directory: str, name: str) -> str:
    """The file's text without the last newline; "" when there is none."""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks).decode().rstrip("\n")
    except OSError as error:
        if error.errno == errno.ENODEV:  # removed meanwhile
            return ""
        raise
    finally:
        os.close(fd)


def read_int(directory: str, name: str, absent: int = -1) -> int:
    """One number; `absent` for a missing file and for "max"."""
    text = read(directory, name)
    return int(text) if text.lstrip("-").isdecimal() else absent


def read_table(directory: str, name: str) -> dict[str, int]:
    """Lines of `key number`."""
    pairs = (line.split() for line in read(directory, name).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def subdirectories(directory: str) -> list[str]:
    """Every cgroup below `directory`, deepest first; a cgroup that goes meanwhile is left out."""
    found: list[str] = []
    waiting = [directory]
    while waiting:
        at = waiting.pop()
        try:
            with os.scandir(at) as entries:
                below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        found += below
        waiting += below
    # A parent is listed before what is below it.
    return found[::-1]


def processes(directory: str) -> list[int]:
    """The pids in `directory` and below it."""
    found: list[int] = []
    for at in (directory, *subdirectories(directory)):
        found += [int(pid) for pid in read(at, "cgroup.procs").split()]
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, _SIGKILL)
        except ProcessLookupError:
            continue


def remove_directory(directory: str) -> bool:
    """rmdir it and what is below; False while processes are in it. Idempotent."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise EngineError(f"cannot remove cgroup {directory}: {error.strerror}") from error
    else:
        return True
    for below in subdirectories(directory):
        try:
            os.rmdir(below)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Waiting:
    """Bounded waiting for the kernel: `again()` sleeps a little longer each time and is False once time is
    up."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._end = time.monotonic() + seconds
        self._pause = 0.0002

    def again(self) -> bool:
        if time.monotonic() > self._end:
            return False
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 0.05)
        return True
