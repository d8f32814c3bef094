"""A container's /dev: a fresh tmpfs, filled while nothing else can reach it."""

import os
import stat
from errno import EPERM

from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel.mounts import make_filesystem, move_mount
from tiffin.kernel.paths import (
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    mkdirs_in_root,
    openat2,
)
from tiffin.runtime.defaults import DEVICES, LINKS
from tiffin.runtime.options import MountOptions
from tiffin.runtime.rootfs import attach, clone_of
from tiffin.runtime.step import step
from tiffin.typed import Any, NamedTuple, Sequence

_HERE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
DEVPTS_OPTIONS = (("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5"))


class Node(NamedTuple):
    """A device node: `name` below /dev, `mode` with its type bits."""

    name: str
    mode: int
    rdev: int
    uid: int
    gid: int


def nodes(listed: Sequence[dict[str, Any]]) -> list[Node]:
    """The default nodes and those of the document's `linux.devices`. Raises InvalidArgument."""
    standard = [Node(d.name, stat.S_IFCHR | 0o666, os.makedev(d.major, d.minor), 0, 0) for d in DEVICES]
    return standard + [_node(device) for device in listed]


def _node(device: dict[str, Any]) -> Node:
    path = os.path.normpath(str(device.get("path", "")))
    if not path.startswith("/dev/"):
        raise InvalidArgument(f"device {path!r} must lie in /dev")
    return node_at(device, path[len("/dev/") :])


def node_at(device: dict[str, Any], name: str) -> Node:
    """An entry of `linux.devices` as a node of that name. Raises InvalidArgument."""
    path, kind = device.get("path"), _KINDS.get(str(device.get("type")))
    major, minor = device.get("major") or 0, device.get("minor") or 0
    if kind is None:
        raise InvalidArgument(f"device {path!r} must be of type c, u, b or p")
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise InvalidArgument(f"device {path}: {major}:{minor} is out of range")
    given = device.get("fileMode")
    mode = kind | (0o666 if given is None else int(given)) & 0o7777
    return Node(name, mode, os.makedev(major, minor), device.get("uid") or 0, device.get("gid") or 0)


def mount_dev(root_fd: int, options: MountOptions, wanted: Sequence[Node], console: bool) -> int:
    """Make, fill and attach /dev; returns the tmpfs's descriptor."""
    with step("make the container's /dev"):
        dev = make_filesystem("tmpfs", options.data, options.set, "tmpfs")
        refused = [node for node in wanted if not _make_node(dev, node)]
        for name, target in LINKS:
            os.symlink(target, name, dir_fd=dev)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=dev)
        for name in [node.name for node in refused] + ["console"] * console:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o620, dir_fd=dev))
    attach(root_fd, dev, "/dev")
    for node in refused:
        _bind_node(dev, node)
    return dev


def _make_node(dev: int, node: Node) -> bool:
    """False when this process may not make device nodes (in a user namespace, or a container itself)."""
    parent, name = dev, node.name
    if "/" in node.name:
        directory, _, name = node.name.rpartition("/")
        parent = mkdirs_in_root(dev, directory, 0o755)
    try:
        if parent == dev:
            _replace(dev, name)
        os.mknod(name, node.mode, node.rdev, dir_fd=parent)
        if node.uid or node.gid:
            os.chown(name, node.uid, node.gid, dir_fd=parent, follow_symlinks=False)
    except PermissionError as error:
        if error.errno != EPERM:
            raise
        return False
    finally:
        if parent != dev:
            os.close(parent)
    return True


def _replace(dev: int, name: str) -> None:
    # A device of the document may take a default one's name.
    try:
        os.unlink(name, dir_fd=dev)
    except FileNotFoundError:
        pass


def open_device(path: str, mode: int, rdev: int) -> int:
    """An O_PATH descriptor of a host device, which is checked to be that device. Raises EngineError."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise EngineError(f"cannot open {path}: {error.strerror}") from error
    status = os.fstat(fd)
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(mode) or status.st_rdev != rdev:
        os.close(fd)
        raise EngineError(f"{path} of this machine is not device {os.major(rdev)}:{os.minor(rdev)}")
    return fd


def _bind_node(dev: int, node: Node) -> None:
    source = open_device(f"/dev/{node.name}", node.mode, node.rdev)
    with step(f"bind /dev/{node.name}"):
        target = openat2(dev, node.name, os.O_PATH | os.O_NOFOLLOW, 0, _HERE)
        copy = clone_of(source)
        move_mount(copy, target)
    for fd in (source, target, copy):
        os.close(fd)


def bind_console(dev: int, devpts: int, slave: int) -> None:
    """Put the terminal on /dev/console: that very device in that very devpts, checked by descriptor."""
    rdev = os.fstat(slave).st_rdev
    with step("put the terminal on /dev/console"):
        source = openat2(devpts, str(os.minor(rdev)), os.O_PATH | os.O_NOFOLLOW, 0, _HERE)
        if os.fstat(source).st_rdev != rdev:
            raise EngineError("the terminal is not in the container's /dev/pts")
        target = openat2(dev, "console", os.O_PATH | os.O_NOFOLLOW, 0, _HERE)
        copy = clone_of(source)
        move_mount(copy, target)
    for fd in (source, target, copy):
        os.close(fd)
