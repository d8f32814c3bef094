"""What a forked child does between the engine and the helper: namespaces, the file tree, then exec.

Its root directory stays the host's for as long as Python runs in it; the helper pivots. It talks to its
parent by three descriptors:

    errors  written: nothing (end of file: the helper runs), or `<error class>\\0<message>`
    go      read: one byte once its cgroup is there, on v2 with it inside
    status  for the helper
"""

import fcntl
import gc
import os
import struct
from errno import ELOOP, EROFS

from tiffin.errors import EngineError, InvalidArgument
from tiffin.init.launch import execute_helper
from tiffin.init.message import CREATE
from tiffin.kernel import sockets as socket
from tiffin.kernel.mounts import (
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    make_filesystem,
    mount_setattr,
    move_mount,
    open_tree,
)
from tiffin.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    setns,
    unshare,
)
from tiffin.kernel.paths import mkdirs_in_root
from tiffin.runtime import devices, masks, rootfs
from tiffin.runtime.cgroups import Cgroup, Hierarchies
from tiffin.runtime.forked import report
from tiffin.runtime.options import RootMount, parse_options
from tiffin.runtime.process import find_user, message_for, place_stdio
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from tiffin.runtime.extras import Extras

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_KINDS = {"uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC, "network": CLONE_NEWNET}


_SIGKILL = 9


class Plan(NamedTuple):
    """All that the child needs, checked and computed before the fork. Descriptors: -1 for none."""

    spec: dict[str, Any]
    root: RootMount
    mount_point: str
    namespaces: dict[str, str]
    mounts: list[tuple[str, dict[str, Any]]]
    nodes: list[devices.Node]
    seccomp: bytes
    hierarchies: Hierarchies
    cgroup: Cgroup
    netns_fd: int
    stdio: tuple[int, int, int]
    devpts_fd: int
    errors_fd: int
    go_fd: int
    status_fd: int
    start_fd: int
    helper_fd: int
    parent_fds: tuple[int, ...]
    cgroup_enters_itself: bool
    extras: "Extras | None" = None


def run(plan: Plan) -> NoReturn:
    """Become the container's first process, or report why not and exit. Never returns."""
    try:
        gc.disable()  # a collection would write to, and so copy, every page shared with the parent
        os.umask(0)
        for fd in plan.parent_fds:  # or we would not see the parent's end of them close when it is killed
            os.close(fd)
        _become(plan)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
        report(plan.errors_fd, error)
    finally:
        os._exit(125)


def _become(plan: Plan) -> None:
    process, extras = plan.spec["process"], plan.extras
    if extras:
        extras.begin()
    elif process.get("oomScoreAdj"):
        set_oom_score(process["oomScoreAdj"])
    _enter_namespaces(plan)
    binds = extras.binds if extras else rootfs.clone_binds([entry for _, entry in plan.mounts])
    rootfs.make_private()
    root_fd = (
        extras.mount_root(plan.mount_point) if extras else rootfs.mount_root(plan.root, plan.mount_point)
    )
    tree = _Tree(plan, root_fd)
    tree.assemble(binds)
    if extras:
        extras.assembled(root_fd, tree.dev)
    user = find_user(process, root_fd)
    _make_cwd(root_fd, process.get("cwd") or "/")
    if plan.spec.get("root", {}).get("readonly"):
        with step("make the container's root read-only"):
            mount_setattr(root_fd, "", 0, set=MOUNT_ATTR_RDONLY)
    own_uts = "uts" in plan.namespaces and not plan.namespaces["uts"]
    message = message_for(
        process,
        user,
        plan.seccomp,
        CREATE,
        root_fd=root_fd,
        hostname=str(plan.spec.get("hostname") or "") if own_uts else "",
        domainname=str(plan.spec.get("domainname") or "") if own_uts else "",
        pdeathsig=_SIGKILL,  # a container does not outlive the process that watches over it
    )
    if extras:
        message = extras.message(message)
    place_stdio(*plan.stdio, user.uid)
    with step("run the helper"):
        execute_helper(plan.helper_fd, message, plan.status_fd, plan.start_fd)


def set_oom_score(value: int) -> None:
    # Before anything of the container's is mounted: this is surely the host's own proc.
    with step(f"set the OOM score adjustment {value}"):
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)


def _enter_namespaces(plan: Plan) -> None:
    new = CLONE_NEWNS
    for kind, flag in _KINDS.items():
        path = plan.namespaces.get(kind)
        if plan.extras and path and "user" in plan.namespaces:
            continue  # joined before we gave up being the host's root
        if kind == "network" and plan.netns_fd >= 0:
            with step("join the container's network namespace"):
                setns(plan.netns_fd, CLONE_NEWNET)
        elif path:
            join_namespace(path, flag)
        elif path is not None:
            new |= flag
    with step("make namespaces"):
        unshare(new)
    if new & CLONE_NEWNET:
        with step("bring up the loopback interface"):
            _bring_up_loopback()
    if plan.extras:
        plan.extras.enter_time()


def join_namespace(path: str, flag: int) -> None:
    with step(f"join the namespace {path}"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, flag)
        finally:
            os.close(fd)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _make_cwd(root_fd: int, cwd: str) -> None:
    """The working directory is made when it is missing, as Docker does. What cannot be made, the helper will
    not find, and say so."""
    try:
        os.close(mkdirs_in_root(root_fd, cwd, 0o755))
    except OSError as error:
        if error.errno == ELOOP:
            raise InvalidArgument(
                f'chdir to cwd ("{cwd}") failed: it is not a directory of the container'
            ) from error
        if error.errno == EROFS or isinstance(
            error, (FileNotFoundError, NotADirectoryError, PermissionError)
        ):
            return
        raise EngineError(f"cannot make the working directory {cwd}: {error.strerror}") from error


class _Tree:
    """The mounts of one container, in the order that `rootfs` draws. Descriptors are left to the exec to
    close."""

    def __init__(self, plan: Plan, root_fd: int) -> None:
        self._plan, self._root = plan, root_fd
        self._proc = self._sys = self.dev = -1
        self._devpts = plan.devpts_fd

    def assemble(self, binds: list[int]) -> None:
        cgroups_at = None
        for (path, entry), bind in zip(self._plan.mounts, binds, strict=True):
            if bind >= 0:
                rootfs.attach(self._root, bind, path)
                if path == "/sys":
                    self._sys = -1  # masks below /sys then go by what the root shows
            elif entry.get("type") in ("cgroup", "cgroup2"):
                self._wait_for_cgroup()
                self._mount_cgroup(path, entry)
                cgroups_at = path
            else:
                self._mount(path, entry)
        if cgroups_at is None:
            self._wait_for_cgroup()
        linux = self._plan.spec.get("linux") or {}
        views = masks.Views(self._root, self._proc, self._sys)
        masks.set_sysctls(views, linux.get("sysctl") or {}, frozenset(self._plan.namespaces))
        masks.mask(views, linux.get("maskedPaths") or ())
        masks.make_readonly(views, linux.get("readonlyPaths") or ())

    def _mount(self, path: str, entry: dict[str, Any]) -> None:
        kind, options = str(entry.get("type")), parse_options(entry.get("options") or ())
        if path == "/dev" and kind == "tmpfs":
            terminal = self._plan.devpts_fd >= 0
            self.dev = devices.mount_dev(self._root, options, self._plan.nodes, terminal)
        elif path == "/dev/pts" and kind == "devpts":
            self._mount_devpts(path, options.set)
        elif kind == "proc":
            self._proc = rootfs.mount_filesystem(self._root, kind, path, options, "proc")
        elif kind == "sysfs":
            self._sys = rootfs.mount_filesystem(self._root, kind, path, options, "sysfs")
        elif self._plan.extras:
            self._plan.extras.mount(self._root, path, entry)
        elif kind in ("tmpfs", "mqueue", "overlay", "devpts", "ramfs"):
            rootfs.mount_filesystem(self._root, kind, path, options, str(entry.get("source") or kind))
        else:
            raise InvalidArgument(f"mounts of type {kind!r} are not known; bind and tmpfs are")

    def _mount_devpts(self, path: str, attributes: int) -> None:
        if self._devpts < 0:
            with step("make the container's /dev/pts"):
                self._devpts = make_filesystem("devpts", devices.DEVPTS_OPTIONS, attributes)
        rootfs.attach(self._root, self._devpts, path)
        if self._plan.devpts_fd >= 0:
            devices.bind_console(self.dev, self._devpts, self._plan.stdio[0])

    # ---- control groups: seen from the container's own as root, hence after the parent has put us there
    # --------

    def _wait_for_cgroup(self) -> None:
        if os.read(self._plan.go_fd, 1) != b"\1":
            raise EngineError("the engine ended while it started a container")
        if self._plan.cgroup_enters_itself:
            self._plan.cgroup.add(0)
        path = self._plan.namespaces.get("cgroup")
        if path:
            join_namespace(path, CLONE_NEWCGROUP)
        elif path is not None:
            with step("make a cgroup namespace"):
                unshare(CLONE_NEWCGROUP)

    def _mount_cgroup(self, path: str, entry: dict[str, Any]) -> None:
        options, found = parse_options(entry.get("options") or ()), self._plan.hierarchies
        if found.version == 2 and "cgroup" not in self._plan.namespaces:
            self._bind_host_cgroups(path, options.set)
        elif found.version == 2:
            rootfs.mount_filesystem(self._root, "cgroup2", path, options._replace(data=()), "cgroup")
        else:
            self._mount_cgroup_v1(path, options.set)

    def _bind_host_cgroups(self, path: str, attributes: int) -> None:
        with step("show the host's cgroups"):
            copy = open_tree(AT_FDCWD, "/sys/fs/cgroup", OPEN_TREE_CLONE | AT_RECURSIVE)
            mount_setattr(copy, "", AT_RECURSIVE, set=attributes)
        rootfs.attach(self._root, copy, path)

    def _mount_cgroup_v1(self, path: str, attributes: int) -> None:
        by_mount: dict[str, list[str]] = {}
        for controller, mount in self._plan.hierarchies.v1.items():
            by_mount.setdefault(mount, []).append(controller)
        with step("show the container's cgroups"):
            guard = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
            top = make_filesystem("tmpfs", (("mode", "0755"), ("size", "64k")), guard, "tmpfs")
            for controllers in by_mount.values():
                os.mkdir(",".join(controllers), 0o755, dir_fd=top)
                for name in controllers if len(controllers) > 1 else ():
                    os.symlink(",".join(controllers), name, dir_fd=top)
        rootfs.attach(self._root, top, path)
        with step("show the container's cgroups"):
            for controllers in by_mount.values():
                own = self._own_cgroup(controllers, attributes)
                at = os.open(",".join(controllers), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                move_mount(own, at)
                os.close(at)
                os.close(own)
            mount_setattr(top, "", 0, set=attributes & MOUNT_ATTR_RDONLY)

    def _own_cgroup(self, controllers: list[str], attributes: int) -> int:
        """The container's own part of a v1 hierarchy: by its namespace, or without one a bind of its directory."""
        if "cgroup" in self._plan.namespaces:
            return make_filesystem("cgroup", [(name, None) for name in controllers], attributes, "cgroup")
        mount = self._plan.hierarchies.v1[controllers[0]]
        copy = open_tree(AT_FDCWD, f"{mount}/{self._plan.cgroup.path}", OPEN_TREE_CLONE)
        mount_setattr(copy, "", 0, set=attributes)
        return copy
