"""Making a container's first process.

    init = create(request)      # everything is ready, the command not yet executed
    init.start()                # executed; raises CommandNotFound, CommandNotExecutable
    code = init.wait()

The caller (supervisor, build worker) has one thread. What happens:

    parent                                    child
      │ check, compute                            ·
      ├──────── fork, into a new pid namespace ──▶│ namespaces, root, /proc, /dev, mounts     (child.py)
      │ make the cgroup, put the child in (v2)    │   meanwhile
      ├──────── go ──────────────────────────────▶│ into the cgroup (v1), its namespace, masks, user
      │                                           │ exec helper: pivot, limits, ids, seccomp
      │◀─────── ready, or what failed ────────────┤
      ├──────── start() ─────────────────────────▶│ exec the command

The two run side by side because moving another process between cgroups can wait for the kernel for ten
milliseconds; on v1 the child moves itself, which does not (see `CgroupV1.add`). On failure nothing remains:
not the child, not the cgroup; the mounts were in the child's own namespace.
"""

import os

from tiffin.errors import EngineError, InvalidArgument, TiffinError
from tiffin.kernel.namespaces import CLONE_NEWPID, setns, unshare
from tiffin.kernel.process import set_dumpable
from tiffin.runtime import child, devices
from tiffin.runtime.cgroups import Cgroup, Hierarchies, detect, open_cgroup
from tiffin.runtime.forked import Descriptors, FirstProcess, raise_reported, read_all, reap
from tiffin.runtime.options import RootMount
from tiffin.runtime.process import await_executed, await_ready, check_process
from tiffin.runtime.rootfs import check_destination
from tiffin.runtime.seccomp import seccomp_filter
from tiffin.runtime.step import step
from tiffin.runtime.sysctls import sysctl_path
from tiffin.typed import TYPE_CHECKING, Any, Mapping, NamedTuple

if TYPE_CHECKING:
    from tiffin.runtime.console import Terminal
    from tiffin.runtime.extras import Extras

_REQUIRED = (
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "mode=755", "size=65536k"],
    },
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec"]},
)


class CreateRequest(NamedTuple):
    """What makes a container's process.

    id              a checked container id; names the cgroup below `cgroup_parent`
    spec            the runtime specification document (see `tiffin.runtime.spec`)
    root            the root file system, an overlay or a bind (`tiffin.oci.mount.Mount`)
    mount_point     an empty directory of the engine's on which the root is mounted, in the child's namespace only
    stdio           descriptors for fds 0 to 2, used when the document's process.terminal is false
    netns_fd        network namespace to join; -1: a new one with nothing but a loopback interface. A document
                    without a network namespace shares the host's
    cgroup_parent   `Layout.cgroup`
    seccomp_cache   a private directory (`Layout.cache`), "" for none
    helper_fd       from `tiffin.init.open_helper`; stays the caller's
    cgroup          the cgroup's path instead of "parent/id"
    extras          what the document asks for beyond what the engine's own containers have (see `Extras`)
    """

    id: str
    spec: dict[str, Any]
    root: RootMount
    mount_point: str
    stdio: tuple[int, int, int] = (0, 1, 2)
    netns_fd: int = -1
    cgroup_parent: str = "tiffin"
    seccomp_cache: str = ""
    helper_fd: int = -1
    cgroup: str = ""
    extras: "Extras | None" = None


class InitProcess(FirstProcess):
    """A container's first process, made by `create`."""

    def __init__(
        self,
        pid: int,
        cgroup: Cgroup,
        process: Mapping[str, Any],
        console_fd: int,
        status_fd: int,
        start_fd: int,
    ) -> None:
        super().__init__(pid, cgroup, console_fd)
        self._process = process
        self._status_fd, self._start_fd = status_fd, start_fd

    def start(self) -> None:
        try:
            os.write(self._start_fd, b"\1")
            await_executed(self._status_fd, self._process)
        except BrokenPipeError as error:
            self.destroy()
            raise EngineError("the container's process was killed before it started") from error
        except TiffinError:
            self.destroy()
            raise
        self._close_pipes()

    def close(self) -> None:
        super().close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for fd in (self._status_fd, self._start_fd):
            if fd >= 0:
                os.close(fd)
        self._status_fd = self._start_fd = -1

    def _remove(self) -> None:
        self.cgroup.delete()


def create(request: CreateRequest) -> InitProcess:
    """Make the process, ready to `start`. Raises InvalidArgument, NotFound (a bind's source), Conflict (the
    id's cgroup is in use), Unsupported, NoSpace, EngineError; nothing remains then."""
    namespaces = _namespaces(request.spec, request.extras is not None)
    hierarchies = detect()
    cgroup = open_cgroup(request.cgroup or f"{request.cgroup_parent}/{request.id}", hierarchies)
    fds = Descriptors()
    try:
        plan, terminal = _plan(request, namespaces, hierarchies, cgroup, fds)
        return _launch(plan, namespaces, cgroup, terminal, fds)
    finally:
        fds.close()


def _launch(
    plan: child.Plan,
    namespaces: dict[str, str],
    cgroup: Cgroup,
    terminal: "Terminal | None",
    fds: Descriptors,
) -> InitProcess:
    pid = _fork(plan, namespaces)
    made = False
    try:
        fds.close_child_ends()
        warnings = cgroup.create((plan.spec.get("linux") or {}).get("resources") or {})
        made = True
        if not plan.cgroup_enters_itself:
            cgroup.add(pid)
        os.write(fds.go, b"\1")
        if plan.extras:
            plan.extras.attend(pid)
        if message := read_all(fds.errors):
            raise_reported(message)
        listener = plan.extras.listener(pid) if plan.extras else None
        await_ready(fds.status, plan.spec["process"], warnings, listener)
        master = fds.keep(terminal.master) if terminal else -1
        init = InitProcess(
            pid, cgroup, plan.spec["process"], master, fds.keep(fds.status), fds.keep(fds.start)
        )
    except BaseException as error:
        reap(pid)
        if made:
            _attempt(cgroup.delete, error)
        ended_first = isinstance(error, BrokenPipeError) or isinstance(error.__cause__, ProcessLookupError)
        if ended_first and (message := read_all(fds.errors)):
            raise_reported(message)  # what it said is the reason
        raise
    init.warnings = warnings
    return init


def _fork(plan: child.Plan, namespaces: dict[str, str]) -> int:
    """Fork into a pid namespace, and bring this process's own children back to where it was."""
    if "user" in namespaces and plan.extras:
        return plan.extras.fork(plan)
    if "pid" not in namespaces:
        pid = os.fork()
        if pid == 0:
            child.run(plan)
        return pid
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with step("make a pid namespace"):
            if namespaces["pid"]:
                child.join_namespace(namespaces["pid"], CLONE_NEWPID)
                set_dumpable(False)  # those who are in there must not trace a process with our memory
            else:
                unshare(CLONE_NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                child.run(plan)
        finally:
            setns(own, CLONE_NEWPID)
            if namespaces["pid"]:
                set_dumpable(True)
    finally:
        os.close(own)
    return pid


def _plan(
    request: CreateRequest,
    namespaces: dict[str, str],
    hierarchies: Hierarchies,
    cgroup: Cgroup,
    fds: Descriptors,
) -> "tuple[child.Plan, Terminal | None]":
    spec = request.spec
    linux, process = spec.get("linux") or {}, spec["process"]
    mounts = _mounts(spec)
    for name, value in (linux.get("sysctl") or {}).items():
        sysctl_path(name, value, frozenset(namespaces))
    wanted = devices.nodes(linux.get("devices") or ())
    seccomp = seccomp_filter(linux.get("seccomp"), process, request.seccomp_cache)
    with step("open pipes and terminals"):
        fds.open()
        if request.extras:
            request.extras.open(fds, mounts, request.root)
        stdio, devpts, terminal = request.stdio, -1, None
        if process.get("terminal"):
            from tiffin.runtime.console import make_devpts, open_terminal

            devpts = fds.child_end(make_devpts(request.extras.tty_group if request.extras else 5))
            terminal = open_terminal(devpts)
            fds.own(terminal.master)
            fds.child_end(terminal.slave)
            if request.extras:
                request.extras.own_terminal(terminal.slave)
            stdio = (terminal.slave,) * 3
    plan = child.Plan(
        spec=spec,
        root=request.root,
        mount_point=request.mount_point,
        namespaces=namespaces,
        mounts=mounts,
        nodes=wanted,
        seccomp=seccomp,
        hierarchies=hierarchies,
        cgroup=cgroup,
        netns_fd=request.netns_fd,
        stdio=stdio,
        devpts_fd=devpts,
        errors_fd=fds.child_errors,
        go_fd=fds.child_go,
        status_fd=fds.child_status,
        start_fd=fds.child_start,
        helper_fd=request.helper_fd,
        parent_fds=fds.parent_ends(),
        cgroup_enters_itself=cgroup.enters_itself and "user" not in namespaces,
        extras=request.extras,
    )
    return plan, terminal


def _namespaces(spec: Mapping[str, Any], extras: bool) -> dict[str, str]:
    """Kind → path to join, "" for a new one. Raises InvalidArgument for what is no container's document."""
    if not isinstance(spec.get("process"), dict):
        raise InvalidArgument("the container's document has no process")
    check_process(spec["process"])
    for name in spec.get("annotations") or {}:
        if name.startswith("org.systemd.property."):
            raise InvalidArgument(f"annotation {name!r} is not honoured: give limits as options")
    listed = {
        str(n["type"]): str(n.get("path") or "") for n in (spec.get("linux") or {}).get("namespaces") or ()
    }
    known = {"pid", "ipc", "uts", "network", "cgroup", "mount"} | ({"user", "time"} if extras else set())
    if unknown := set(listed) - known:
        raise InvalidArgument(f"namespaces of type {min(unknown)!r} are not known")
    if "mount" not in listed or listed["mount"]:
        raise InvalidArgument("a container needs a mount namespace of its own")
    return listed


def _mounts(spec: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(target, entry) in order; /proc, /dev and /dev/pts come first whether the document names them or
    not."""
    listed = [(check_destination(entry), entry) for entry in spec.get("mounts") or ()]
    first = []
    for required in _REQUIRED:
        path = str(required["destination"])
        same = [entry for at, entry in listed if at == path and entry.get("type") == required["type"]]
        first.append((path, same[0] if same else dict(required)))
        listed = [(at, entry) for at, entry in listed if not same or entry is not same[0]]
    return first + listed


def _attempt(undo: Any, error: BaseException) -> None:
    """Run a clean-up step; its failure becomes a note on the error that made it necessary."""
    try:
        undo()
    except TiffinError as failed:
        error.add_note(f"and while cleaning up: {failed}")
