"""The operations of the specification (runtime.md, "Operations" and "Lifecycle"), and those that runtimes add."""

from __future__ import annotations

import json
import os

from tiffin.errors import (
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    InvalidArgument,
    NotFound,
    TiffinError,
)
from tiffin.init import open_helper
from tiffin.kernel.locks import is_locked
from tiffin.kernel.process import boot_id, pidfd_open, pidfd_send_signal, process_start_time
from tiffin.oci.mount import Mount
from tiffin.runtime.cgroups import Cgroup, open_cgroup, prune_parent
from tiffin.runtime.create import CreateRequest, InitProcess, create
from tiffin.runtime.extras import Extras, hooks, rendezvous
from tiffin.runtime.lifecycle import document as documents
from tiffin.runtime.lifecycle.records import (
    Held,
    Record,
    Records,
    is_started,
    read_record,
)
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGKILL = 9
_NUMBERS_PATIENCE = 10.0


class Creation(NamedTuple):
    """What `create` is told beside the bundle.

    console_socket  a socket that is sent the terminal's master
    pid_file        is written the pid of the container's first process
    preserve        descriptors for the command's 3 and up
    stdio           of the command, without a terminal
    keep_console    leave the terminal to the caller: `InitProcess.console_fd`
    """

    console_socket: str = ""
    pid_file: str = ""
    preserve: Sequence[int] = ()
    keep_keyring: bool = False
    stdio: tuple[int, int, int] = (0, 1, 2)
    keep_console: bool = False


class Runtime:
    """Containers below `root`. `warnings` collects what is worth telling and no error."""

    def __init__(self, root: str) -> None:
        self.records = Records(root)
        self.warnings: list[str] = []

    # ---- create

    def create(self, container_id: str, bundle: str, how: Creation = Creation()) -> InitProcess:  # noqa: B008 - a constant
        """Everything but the command. The process is not ended by `InitProcess.close`. Raises Conflict (the id is
        taken), InvalidArgument, NotFound, Unsupported, EngineError; nothing remains then."""
        self.records.directory(container_id)
        bundle = os.path.abspath(bundle)
        document = documents.read_document(f"{bundle}/config.json")
        documents.check_document(document)
        root = os.path.normpath(os.path.join(bundle, document["root"]["path"]))
        if not os.path.isdir(root):
            raise InvalidArgument(f"invalid rootfs: stat {root}: no such directory")
        _check_console(document["process"], how)
        cgroup = documents.cgroup_path(document, container_id)
        with self.records.make(container_id) as held:
            record = Record(
                container_id,
                bundle,
                root,
                cgroup,
                _now(),
                boot_id(),
                annotations=document.get("annotations") or {},
            )
            init = None
            try:
                held.write_config(document)
                held.write(record)
                init = self._create(held, record, document, how)
                record = record._replace(pid=init.pid, pid_start=init.pid_start)
                held.write(record)
                if how.pid_file:
                    write_pid_file(how.pid_file, init.pid)
            except BaseException as error:
                _undo(init, error)
                held.remove()
                self._run_poststop(record, document)
                raise
        return init

    def _create(self, held: Held, record: Record, document: dict[str, Any], how: Creation) -> InitProcess:
        os.chdir(record.bundle)  # hooks start there
        spec = documents.specification(document, self.warnings)
        extras = Extras(
            document,
            lambda status, pid: state_document(record, status, pid),
            rendezvous=held.path,
            preserve=how.preserve,
            keep_keyring=how.keep_keyring,
        )
        # Not to be read: then the kernel keeps the root of a user namespace from tracing it, whose program it is.
        helper = open_helper(0o111)
        try:
            init = create(
                CreateRequest(
                    id=record.id,
                    spec=spec,
                    root=Mount("/", "bind", record.rootfs, ("rbind",)),
                    mount_point=record.rootfs,
                    stdio=how.stdio,
                    seccomp_cache=self.records.cache(),
                    helper_fd=helper,
                    cgroup=record.cgroup,
                    extras=extras,
                )
            )
        finally:
            os.close(helper)
        self.warnings += init.warnings
        try:
            _set_console(init.console_fd, document["process"], how)
        except BaseException as error:
            _undo(init, error)
            raise
        return init

    # ---- the rest of its life

    def start(self, container_id: str) -> None:
        """Execute the command. Raises Conflict in any other state than created, CommandNotFound,
        CommandNotExecutable (the container is then stopped), EngineError for a hook (it is then destroyed)."""
        with self.records.hold(container_id) as held:
            record, document = held.record(), held.config()
            status = status_of(held.path, record)
            if status == "stopped":
                raise Conflict("cannot start a container that has stopped")
            if status != "created":
                raise Conflict("cannot start an already running container")
            try:
                rendezvous.start(held.path, document["process"])
                state = json.dumps(state_document(record, "running", record.pid)).encode()
                hooks.run_hooks("poststart", hooks.hooks_of(document, "poststart"), state)
            except (CommandNotFound, CommandNotExecutable):
                self._kill(record)
                rendezvous.forget(held.path)
                raise
            except TiffinError:
                self._destroy(held, record, document)
                raise

    def state(self, container_id: str) -> dict[str, Any]:
        """The specification's state, with what runtimes commonly add. Raises NotFound."""
        path = self.records.directory(container_id)
        record = read_record(path)
        status = status_of(path, record)
        made = state_document(record, status, record.pid if status not in ("stopped", "creating") else 0)
        return {**made, "rootfs": record.rootfs, "created": record.created}

    def kill(self, container_id: str, number: int, *, everybody: bool = False) -> None:
        """Signal the first process, or every process in the container. Raises NotFound, Conflict when it does not
        run."""
        path = self.records.directory(container_id)
        record = read_record(path)
        cgroup = open_cgroup(record.cgroup)
        status = status_of(path, record)
        if everybody:
            if number == _SIGKILL:
                cgroup.kill_all()
            else:
                for pid in cgroup.pids():
                    _signal_member(cgroup, pid, number)
            return
        if status not in ("created", "running", "paused") or not _signal(record, number):
            raise Conflict("container not running")
        if status == "paused" and number == _SIGKILL:
            cgroup.freeze(False)

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """Remove it and run its poststop hooks. Raises NotFound (never with `force`), Conflict while it runs."""
        try:
            held = self.records.hold(container_id)
        except NotFound:
            if force:
                return
            raise
        with held:
            try:
                record, document = held.record(), held.config()
            except NotFound:  # its creator was killed early
                held.remove()
                return
            status = status_of(held.path, record)
            if status in ("running", "paused") and not force:
                raise Conflict(f"cannot delete container {container_id} that is not stopped: {status}")
            self._destroy(held, record, document)

    def pids(self, container_id: str) -> list[int]:
        return open_cgroup(self.records.read(container_id).cgroup).pids()

    def freeze(self, container_id: str, frozen: bool) -> None:
        """Raises Conflict when it is not running, or not paused."""
        with self.records.hold(container_id) as held:
            record = held.record()
            status = status_of(held.path, record)
            if frozen and status not in ("running", "created"):
                raise Conflict("container not running or created: " + status)
            if not frozen and status != "paused":
                raise Conflict("container not paused")
            open_cgroup(record.cgroup).freeze(frozen)

    def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change limits; what `resources` does not name stays. Raises Conflict when it does not run."""
        documents.check_resources(resources)
        with self.records.hold(container_id) as held:
            record = held.record()
            if status_of(held.path, record) == "stopped":
                raise Conflict("container not running")
            self.warnings += open_cgroup(record.cgroup).update(resources)

    # ---- its end

    def _destroy(self, held: Held, record: Record, document: dict[str, Any]) -> None:
        self._kill(record)
        cgroup = open_cgroup(record.cgroup)
        if cgroup.exists():
            cgroup.kill_all()
            cgroup.delete()
        if os.path.dirname(record.cgroup) == documents.CGROUP_PARENT:
            prune_parent(documents.CGROUP_PARENT)
        held.remove()
        self._run_poststop(record, document)

    def _kill(self, record: Record) -> None:
        """End the first process, and with it all in its pid namespace; wait until it has."""
        import select

        try:
            pidfd = pidfd_open(record.pid) if record.pid else -1
        except ProcessLookupError:
            return
        if pidfd < 0:
            return
        try:
            if not is_alive(record):
                return
            pidfd_send_signal(pidfd, _SIGKILL)
            if status_of("", record) == "paused":
                open_cgroup(record.cgroup).freeze(False)
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.poll(_NUMBERS_PATIENCE * 1000)
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)

    def _run_poststop(self, record: Record, document: dict[str, Any]) -> None:
        """Each is run; a failure is a warning (runtime.md, "Lifecycle", 13)."""
        state = json.dumps(state_document(record, "stopped", 0)).encode()
        for number, hook in enumerate(hooks.hooks_of(document, "poststop")):
            try:
                hooks.run_hook(f"poststop hook {number} ({hook.path})", hook, state)
            except TiffinError as error:
                self.warnings.append(str(error))


# ---- what a container is doing


def state_document(record: Record, status: str, pid: int) -> dict[str, Any]:
    """The specification's state (runtime.md, "State")."""
    return {
        "ociVersion": documents.VERSION,
        "id": record.id,
        "status": status,
        "pid": pid,
        "bundle": record.bundle,
        "annotations": record.annotations,
    }


def status_of(path: str, record: Record) -> str:
    """ "creating", "created", "running", "paused" or "stopped"."""
    if not record.pid:
        return "creating" if is_locked(path) else "stopped"
    if not is_alive(record):
        return "stopped"
    if path and not is_started(path):
        return "created"
    return "paused" if _is_frozen(record.cgroup) else "running"


def is_alive(record: Record) -> bool:
    """Whether that very process runs: of this boot, not another with its pid, not a zombie."""
    if record.boot != boot_id() or process_start_time(record.pid) != record.pid_start:
        return False
    try:
        with open(f"/proc/{record.pid}/stat", "rb") as file:
            stat = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rindex(b")") + 2 : stat.rindex(b")") + 3] not in (b"Z", b"X")


def _is_frozen(path: str) -> bool:
    from tiffin.runtime.cgroups.detect import detect
    from tiffin.runtime.cgroups.files import read, read_table

    found = detect()
    if found.version == 2:
        return read_table(f"{found.unified}/{path}", "cgroup.events").get("frozen", 0) == 1
    return "freezer" in found.v1 and read(f"{found.v1['freezer']}/{path}", "freezer.state") == "FROZEN"


def _signal(record: Record, number: int) -> bool:
    try:
        pidfd = pidfd_open(record.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(record):
            return False
        pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def _signal_member(cgroup: Cgroup, pid: int, number: int) -> None:
    """Signal a process that is still in the cgroup once we hold a descriptor of it."""
    try:
        pidfd = pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in cgroup.pids():
            pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


# ---- small things


def _check_console(process: dict[str, Any], how: Creation) -> None:
    if process.get("terminal") and not (how.console_socket or how.keep_console):
        raise InvalidArgument("cannot allocate tty if the runtime will detach without setting console socket")
    if how.console_socket and not process.get("terminal"):
        raise InvalidArgument("cannot use console socket if the process has no terminal")


def _set_console(master: int, process: dict[str, Any], how: Creation) -> None:
    if master < 0:
        return
    size = process.get("consoleSize")
    if size:
        from tiffin.runtime.console import resize

        resize(master, size["height"], size["width"])
    if how.console_socket:
        send_console(how.console_socket, master)


def send_console(path: str, master: int) -> None:
    """The terminal's master to whoever listens on the socket. Raises InvalidArgument."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)
            socket.send_fds(client, [b"/dev/ptmx"], [master])
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InvalidArgument(f"cannot send the terminal to the console socket {path}: {why}") from error


def write_pid_file(path: str, pid: int) -> None:
    """Aside and renamed: whoever sees it sees the whole number."""
    directory, name = os.path.split(path)
    aside = os.path.join(directory, f".{name}")
    try:
        with open(aside, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(aside, path)
    except OSError as error:
        raise InvalidArgument(
            f"cannot write the pid file {path}: {(error.strerror or '').lower()}"
        ) from error


def _undo(init: InitProcess | None, error: BaseException) -> None:
    if init is None or init.pidfd < 0:
        return
    try:
        init.destroy()
    except TiffinError as failed:
        error.add_note(f"and while cleaning up: {failed}")


def _now() -> str:
    import time

    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"
