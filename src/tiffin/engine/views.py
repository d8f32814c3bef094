"""A container's files as it sees them, volumes and all, reached from outside by one descriptor.

    running   its own mount namespace, through /proc/PID/root, opened once and checked to be that process's
    at rest   its root, volumes and binds mounted in a namespace that no process is in and nobody else sees

Below the descriptor every step is `open_in_root`: the kernel takes links as the container would, `..` stops at its
root, magic links are refused, so that nothing in the container leads out of it. No code runs in the container.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from tiffin.containers.states import LIVE, SUPERVISED, State
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.errors import Conflict, NotFound, TiffinError
from tiffin.kernel.paths import open_in_root
from tiffin.supervisor import control, processes
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.oci.mount import Mount
    from tiffin.state import Store

_REFERENCE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_BUSY_PATIENCE = 60.0
_PROPAGATION = ("shared", "rshared", "slave", "rslave", "unbindable", "runbindable")


class View:
    """Hold it for as long as the files are worked on; a container at rest cannot be started or removed meanwhile."""

    def __init__(self, container: Container, root_fd: int, undo: ExitStack) -> None:
        self.container = container
        self.root_fd = root_fd
        self._undo = undo

    def close(self) -> None:
        """Idempotent."""
        self._undo.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path_of(self, fd: int) -> str:
        """The path, without links, at which the container has the thing that `fd` refers to. Raises Conflict when that
        cannot be said, since it was moved or removed."""
        root, path = os.readlink(f"/proc/self/fd/{self.root_fd}"), os.readlink(f"/proc/self/fd/{fd}")
        inside = path[len(root.rstrip("/")) :] or "/"
        try:
            if path.startswith(root):
                found = open_in_root(self.root_fd, inside, os.O_PATH | os.O_NOFOLLOW)
                try:
                    if os.path.sameopenfile(found, fd):
                        return inside
                finally:
                    os.close(found)
        except OSError:
            pass
        raise Conflict(f"{path}: moved while it was looked at; try again")


def open_view(store: Store, reference: str) -> View:
    """The files of a container in whatever state. Raises NotFound, Conflict."""
    container = recovery.truth(store, reference)
    deadline = time.monotonic() + _BUSY_PATIENCE
    while True:
        if container.status in LIVE:
            view = _of_running(container)
            if view is not None:
                return view
        else:
            lock = control.acquire(store.layout, container.id, wait=False)
            if lock >= 0:
                return _of_resting(store, reference, container, lock)
        # It is ending, or another command is at work on it: short work.
        if time.monotonic() > deadline:
            raise Conflict(f"container {container.id} is busy; try again")
        time.sleep(0.005)
        container = recovery.truth(store, container.id)


def _of_running(container: Container) -> View | None:
    """None when its first process has ended."""
    with ExitStack() as undo:
        pidfd = processes.open_init(container)
        if pidfd < 0:
            return None
        with processes.closing(pidfd):
            try:
                # The namespace is held, so that its mounts stay where they are even when the container ends.
                undo.callback(os.close, os.open(f"/proc/{container.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
                root_fd = os.open(f"/proc/{container.pid}/root", _REFERENCE)
                undo.callback(os.close, root_fd)
            except (FileNotFoundError, ProcessLookupError):
                return None
            if processes.await_end(pidfd, 0):  # else what was opened was that very process's
                return None
        return View(container, root_fd, undo.pop_all())


def _of_resting(store: Store, reference: str, container: Container, lock: int) -> View:
    with ExitStack() as undo:
        undo.callback(os.close, lock)
        current = Containers(store).get(container.id)
        if current is None or current.status == State.REMOVING:
            if current is None:
                control.discard(store.layout, container.id)
            raise NotFound(f"No such container: {reference}")
        if current.status in SUPERVISED:
            raise Conflict(f"container {container.id} is busy; try again")
        return View(current, _assemble(store, current, undo), undo.pop_all())


def _assemble(store: Store, container: Container, undo: ExitStack) -> int:
    """Mount it all. A thread of its own enters a new mount namespace and ends; the namespace lives on by its descriptor
    alone."""
    import threading

    from tiffin.snapshot.overlay import Snapshots
    from tiffin.supervisor import volumes

    record, directory = container.record, store.layout.container(container.id)
    if any(mount.get("name") for mount in record.mounts):
        from tiffin.volumes.mounting import unmount_all

        undo.callback(unmount_all, store, container.id)
    snapshots = Snapshots(store)
    os.makedirs(f"{directory}/rootfs", mode=0o700, exist_ok=True)
    upper, work = snapshots.prepare_writable(directory, record.layers)
    root = snapshots.root_mount(record.layers, upper, work, mount_points=True)
    binds = [*_own_files(container, directory), *volumes.mounts(store, snapshots, record)]
    made: list[int] = []
    failures: list[BaseException] = []

    def work_apart() -> None:
        try:
            made.extend(_mount_apart(root, f"{directory}/rootfs", binds, read_only=record.read_only))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=work_apart)
    thread.start()
    thread.join()
    for bind in binds:
        if bind.fd >= 0:
            os.close(bind.fd)
    for fd in made:
        undo.callback(os.close, fd)
    if failures:
        if isinstance(failures[0], OSError) and not isinstance(failures[0], TiffinError):
            raise Conflict(
                f"cannot mount the files of container {container.id}: {failures[0]}"
            ) from failures[0]
        raise failures[0]
    return made[-1]


def _own_files(container: Container, directory: str) -> list[Mount]:
    from tiffin.supervisor.prepare import file_mounts

    return [mount for mount in file_mounts(container.record, directory) if os.path.exists(mount.source)]


def _mount_apart(root: Mount, mount_point: str, binds: list[Mount], *, read_only: bool) -> tuple[int, int]:
    """In a mount namespace of this thread's own: the descriptors of the namespace and of the root in it. What is
    unmounted on the machine is unmounted here too; nothing made here is seen there."""
    from tiffin.kernel.mounts import MOUNT_ATTR_RDONLY, MS_REC, MS_SLAVE, mount, mount_setattr
    from tiffin.kernel.namespaces import CLONE_NEWNS, unshare
    from tiffin.runtime.rootfs import attach, clone_binds, mount_root

    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_SLAVE)
    with ExitStack() as undo:
        namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, namespace)
        root_fd = mount_root(root, mount_point)
        undo.callback(os.close, root_fd)
        for bind in sorted(binds, key=lambda bind: bind.target.count("/")):
            if bind.type != "bind":
                continue  # a tmpfs of a container at rest holds nothing, and would keep nothing
            fd = clone_binds([_entry(bind)])[0]
            try:
                attach(root_fd, fd, bind.target)
            finally:
                if fd != bind.fd:
                    os.close(fd)
        if read_only:
            mount_setattr(root_fd, "", 0, set=MOUNT_ATTR_RDONLY)
        undo.pop_all()
    return namespace, root_fd


def _entry(bind: Mount) -> dict[str, Any]:
    options = [option for option in bind.options if option not in _PROPAGATION]
    opened = {"fd": bind.fd} if bind.fd >= 0 else {}
    return {"type": "bind", "source": bind.source, "options": options, **opened}
