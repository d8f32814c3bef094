"""The control socket and the lock of a container, in its run directory.

The socket's path may be longer than the 107 bytes that an address takes, so it is reached through a descriptor of
its directory. The lock (flock) belongs to whoever changes the container: the supervisor for as long as there is
something running or to be taken down, else the command that starts or removes it.
"""

import errno
import os

from tiffin.kernel import sockets as socket
from tiffin.state import Layout, lock_file
from tiffin.supervisor.frames import FrameReader, Kind, frame
from tiffin.typed import Iterator, Sequence, contextmanager

_SOCKET = "sock"
_FREEZER = "freezer"
_PATIENCE = 10.0  # seconds; its loop answers at once


def acquire(layout: Layout, container_id: str, *, wait: bool = True) -> int:
    """The container's lock, as a descriptor to close; -1 when another holds it and not to `wait`. Look at the row
    only afterwards: the container may have been removed meanwhile."""
    directory = layout.container_run(container_id)
    while True:
        try:
            lock = lock_file(f"{directory}/lock", wait=wait)
        except FileNotFoundError:
            _make(directory)
            continue
        if lock < 0 or os.fstat(lock).st_nlink:
            return lock
        os.close(
            lock
        )  # whoever had it has discarded the directory: the lock of this file is nobody's any more


def is_held(layout: Layout, container_id: str) -> bool:
    """Whether somebody has the container's lock at this moment."""
    try:
        lock = lock_file(f"{layout.container_run(container_id)}/lock", wait=False)
    except FileNotFoundError:
        return False
    if lock >= 0:
        os.close(lock)
    return lock < 0


def acquire_freezer(layout: Layout, container_id: str) -> int:
    """The lock of whoever freezes or thaws the container, as a descriptor to close; waits for it. -1 when the container
    has no run directory, and so does not run."""
    try:
        return lock_file(f"{layout.container_run(container_id)}/{_FREEZER}")
    except FileNotFoundError:
        return -1


def discard(layout: Layout, container_id: str) -> None:
    """Remove the run directory of a container that is no more; the caller holds its lock. Idempotent."""
    directory = layout.container_run(container_id)
    for name in (_SOCKET, _FREEZER, "lock"):
        try:
            os.unlink(f"{directory}/{name}")
        except FileNotFoundError:
            pass
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise


def listen(layout: Layout, container_id: str) -> socket.socket:
    """The listening socket of a container's supervisor, which holds the lock; an old one is replaced."""
    directory = layout.container_run(container_id)
    try:
        os.unlink(f"{directory}/{_SOCKET}")
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with _address(directory) as address:
        listener.bind(address)
    listener.listen(128)
    return listener


def connect(layout: Layout, container_id: str) -> socket.socket | None:
    """A connection to the container's supervisor; None when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(layout.container_run(container_id)) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def hold(layout: Layout, container_id: str, descriptors: Sequence[int]) -> bool:
    """Have the container's supervisor keep these descriptors open until this run ends; they stay the caller's too.
    False when there is no supervisor, or one from before it could."""
    connection = connect(layout, container_id)
    if connection is None:
        return False
    reader = FrameReader()
    with connection:
        connection.settimeout(_PATIENCE)
        try:
            socket.send_fds(connection, frame(Kind.HOLD), descriptors)
            while data := connection.recv(4096):
                if any(kind == Kind.HELD for kind, _ in reader.feed(data)):
                    return True
        except OSError:
            pass
    return False


@contextmanager
def _address(directory: str) -> Iterator[str]:
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{_SOCKET}"
    finally:
        os.close(fd)


def _make(directory: str) -> None:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:  # somebody has emptied the run directory, which need not last
        for above in (os.path.dirname(os.path.dirname(directory)), os.path.dirname(directory)):
            try:
                os.mkdir(above, 0o700)
            except FileExistsError:
                pass
        os.mkdir(directory, 0o700)
