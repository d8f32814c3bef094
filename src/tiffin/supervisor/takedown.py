"""Taking a container down, and forgetting it. Every step is idempotent: whoever comes after a crash repeats them.

The caller holds the container's lock.
"""

import fcntl
import os

from tiffin.containers.store import Container, Containers
from tiffin.errors import Conflict, NotFound, PluginFailed, TiffinError
from tiffin.kernel.paths import AT_FDCWD, remove_tree
from tiffin.kernel.process import boot_id
from tiffin.network.records import is_attached
from tiffin.runtime.cgroups import Cgroup, open_cgroup
from tiffin.state import Store
from tiffin.supervisor import control, processes
from tiffin.typed import Callable

_SIGKILL = 9
_PATIENCE = 10.0


def kill_processes(container: Container) -> None:
    """End the first process, and with it all others in its pid namespace, if the row still names it."""
    if container.boot_id != boot_id():
        return
    pidfd = processes.open_init(container)
    if pidfd >= 0:
        with processes.closing(pidfd):
            processes.send(pidfd, _SIGKILL)
            processes.await_end(pidfd, _PATIENCE)


def take_down(store: Store, container: Container, cgroup: Cgroup | None = None) -> str:
    """Remove the container's cgroup with all processes in it (`cgroup`, where the caller has it open), and its place in
    the network. All steps are tried; the first failure is raised, the others are noted on it. What others did not do
    for us is told: it is no reason to come again."""
    failures: list[Exception] = []
    told = ""
    steps: tuple[Callable[[], str], ...] = (
        lambda: _remove_cgroup(store, container, cgroup),
        lambda: _detach(store, container),
        lambda: _unmount(store, container),
    )
    for step in steps:
        try:
            told = step() or told
        except (TiffinError, OSError) as error:
            failures.append(error)
    if failures:
        for other in failures[1:]:
            failures[0].add_note(str(other))
        raise failures[0]
    return told


def _remove_cgroup(store: Store, container: Container, cgroup: Cgroup | None) -> str:
    if container.record.runtime:
        from tiffin.runtime import external

        made_by = external.of_container(store.layout.container(container.id), container.id)
        if made_by:
            made_by.delete()
    cgroup = cgroup or open_cgroup(container.record.cgroup(store.layout.cgroup))
    if cgroup.exists():
        cgroup.kill_all()
        cgroup.delete()
    return ""


def _detach(store: Store, container: Container) -> str:
    if is_attached(store.db, container.id):
        from tiffin.network.manager import Networks

        Networks(store).detach(container.id)
    return ""


def _unmount(store: Store, container: Container) -> str:
    """What volume plugins had against it."""
    complaints = []
    if any(mount.get("name") for mount in container.record.mounts):
        from tiffin.volumes.mounting import unmount_all

        complaints = unmount_all(store, container.id)
    if container.record.ipc_mode == "shareable":
        from tiffin.supervisor.shared import remove_shm

        remove_shm(store.layout.container(container.id))
    return "; ".join(complaints)


class Doomed:
    """A removed container's files, on their way out: in staging and locked, so that the collector leaves them to us for
    as long as we live, and finds them when we do not."""

    def __init__(self, store: Store, container_id: str) -> None:
        """Sets them aside. None there is no error."""
        self._staging = store.layout.staging
        self._name = f"container-{os.urandom(8).hex()}"
        self._fd = -1
        try:
            self._fd = os.open(
                store.layout.container(container_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            os.rename(store.layout.container(container_id), f"{self._staging}/{self._name}")
        except FileNotFoundError:
            self._name = ""

    def remove(self) -> None:
        """Idempotent."""
        try:
            if self._name:
                remove_tree(AT_FDCWD, f"{self._staging}/{self._name}")
                self._name = ""
        finally:
            self.leave()

    def leave(self) -> None:
        """Leave them to the collector. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def forget(store: Store, container: Container, *, volumes: bool, died: int | None = None) -> None:
    """Remove the container's files, with `volumes` its anonymous volumes, and its row: what fails midway is
    found again by the row, or in staging. `died` is the exit code of one that is removed with its end."""
    forget_but_files(store, container, volumes=volumes, died=died).remove()


def forget_but_files(store: Store, container: Container, *, volumes: bool, died: int | None = None) -> Doomed:
    """The same, its files being removed by the caller: that waits for the disk, which nobody else need do."""
    doomed = Doomed(store, container.id)
    try:
        if any(mount.get("name") for mount in container.record.mounts):
            from tiffin.volumes import Volumes

            Volumes(store).release(container.id, anonymous=volumes)
            for mount in container.record.mounts if volumes else ():
                if mount.get("anonymous"):
                    _remove_volume(store, str(mount["name"]))
        Containers(store).delete(container.id, died)
        control.discard(store.layout, container.id)
    except BaseException:
        doomed.leave()
        raise
    return doomed


def _remove_volume(store: Store, name: str) -> None:
    """An anonymous volume that nobody uses any more, also when a crash came between its release and this."""
    from tiffin.volumes import Volumes

    try:
        Volumes(store).remove(name)
    except (NotFound, Conflict, PluginFailed):
        pass  # removed with its last use, as it should be; or another container was given it; or its plugin keeps it
