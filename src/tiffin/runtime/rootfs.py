"""A container's file tree, assembled from outside by file descriptor.

Runs in the child that is already in the container's namespaces but whose root is still the host's. Every path
that the image had a hand in is resolved below the root's descriptor; every mount is made detached and then
moved onto a descriptor. Order:

    root ─▶ /proc ─▶ /dev (fresh, filled while detached) ─▶ the document's mounts ─▶ sysctls
         ─▶ masked and read-only paths ─▶ root read-only

/proc, /sys and /dev must be plain directories in the image, or absent: a link there would lead mounts, masks
and sysctls elsewhere, so such an image does not start.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, EROFS

from tiffin.errors import EngineError, InvalidArgument, NotFound, Unsupported
from tiffin.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_RDONLY,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    explain,
    filesystem_type,
    fsconfig_create,
    fsconfig_fd,
    fsconfig_flag,
    fsconfig_string,
    fsmount,
    fsopen,
    make_filesystem,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
)
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, mkdirs_in_root, open_in_root, openat2
from tiffin.runtime.options import MountOptions, RootMount, parse_options
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_SYSTEM = ("/proc", "/sys", "/dev")
# What lxcfs and its like put over single files of /proc; nothing else may be mounted there.
_PROC_FILES = frozenset(
    ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime", "net/dev")
)
_STRING_LIMIT = 255  # of one fsconfig value
_PAGE = 4096
_MAX_LINKS = 40


def make_private() -> None:
    """No mount made from here on reaches another namespace, and none made there reaches us."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)


# ---- binds: cloned first, while the propagation of what they come from is still known
# ------------------------


def check_destination(entry: dict[str, Any]) -> str:
    """The mount's target, normalised. Raises InvalidArgument for one that no container may have."""
    destination, kind = str(entry.get("destination", "")), entry.get("type", "")
    if not destination.startswith("/") or "\0" in destination:
        raise InvalidArgument(f"mount target {destination!r} must be an absolute path")
    path = os.path.normpath(destination).replace("//", "/")
    if path == "/":
        raise InvalidArgument("mount target must not be the container's root directory")
    if path == "/proc" and kind != "proc":
        raise InvalidArgument("cannot mount over /proc: the container needs a proc of its own")
    if path.startswith("/proc/") and path[len("/proc/") :] not in _PROC_FILES:
        raise InvalidArgument(f"cannot mount at {path}: it is inside /proc")
    return path


def clone_binds(entries: Sequence[dict[str, Any]]) -> list[int]:
    """A detached copy of every bind's source, with its options set; -1 for mounts that are no binds."""
    return [_clone(entry) if _is_bind(entry) else -1 for entry in entries]


def _is_bind(entry: dict[str, Any]) -> bool:
    return entry.get("type") == "bind" or any(
        word in ("bind", "rbind") for word in entry.get("options") or ()
    )


def _clone(entry: dict[str, Any]) -> int:
    source, options = str(entry.get("source", "")), parse_options(entry.get("options") or ())
    if options.data:
        raise InvalidArgument(f"unknown option {options.data[0][0]!r} of the bind mount of {source}")
    if "fd" in entry:
        fd = int(entry["fd"])
        with step(f"set the mount options of {source}"):
            _set_attributes(fd, options)
        return fd
    try:
        fd = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | (AT_RECURSIVE if options.recursive_bind else 0))
    except FileNotFoundError as error:
        raise NotFound(f"bind source path does not exist: {source}") from error
    except OSError as error:
        raise EngineError(f"cannot bind {source}: {error.strerror}") from error
    with step(f"set the mount options of {source}"):
        _set_attributes(fd, options)
    return fd


def _set_attributes(fd: int, options: MountOptions) -> None:
    recursive = AT_RECURSIVE if options.recursive_bind else 0
    mount_setattr(fd, "", recursive, propagation=options.propagation or MS_PRIVATE)
    if options.recursive_readonly:
        mount_setattr(fd, "", AT_RECURSIVE, set=MOUNT_ATTR_RDONLY)
    if options.set or options.clear:
        mount_setattr(fd, "", 0, set=options.set, clear=options.clear)


# ---- the root
# ------------------------------------------------------------------------------------------------


def mount_root(root: RootMount, mount_point: str) -> int:
    """Mount the root on `mount_point`, an empty directory of the engine's; returns the root's descriptor."""
    if root.type == "overlay":
        fd = _overlay(root)
    elif root.type == "bind":
        fd = _clone({"source": root.source, "options": list(root.options)})
        mount_setattr(fd, "", 0, set=MOUNT_ATTR_NODEV)
    else:
        raise InvalidArgument(f"a root of type {root.type!r} is not known; give overlay or bind")
    with step(f"mount the container's root on {mount_point}"):
        target = os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        move_mount(fd, target)
        os.close(target)
    return fd


def open_overlay(root: RootMount) -> int:
    """The root as a detached mount, in no namespace: to be read by descriptor, and gone with it."""
    return _overlay(root)


def _overlay(root: RootMount) -> int:
    if not root.lower:
        raise InvalidArgument("an overlay root needs at least one layer")
    options = parse_options(root.options)
    attributes = options.set | MOUNT_ATTR_NODEV
    if not root.upper and len(root.lower) == 1:  # which the kernel does not take for an overlay
        with step(f"open the layer {root.lower[0]}"):
            fd = open_tree(AT_FDCWD, root.lower[0], OPEN_TREE_CLONE)
            mount_setattr(fd, "", 0, set=attributes | MOUNT_ATTR_RDONLY, propagation=MS_PRIVATE)
        return fd
    try:
        return overlay_by_context(root, attributes, options.data)
    except OSError as error:
        if error.errno == ENODEV:
            raise Unsupported(
                "this kernel has no overlay filesystem; load it with: modprobe overlay"
            ) from error
        if error.errno not in (EINVAL, ENAMETOOLONG):
            with step("mount the container's layers"):
                raise
    # Kernels before 6.7 do not know "lowerdir+"; they tell why when the old call fails too.
    with step("mount the container's layers"):
        return overlay_by_path(root, attributes, options.data)


def _overlay_words(data: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    # Directories renamed with a redirect, and files whose data stays below, could not be told from the upper
    # directory alone, which is what commit and diff read.
    return [("redirect_dir", "off"), ("metacopy", "off"), *data]


def overlay_by_context(root: RootMount, attributes: int, data: Sequence[tuple[str, str | None]]) -> int:
    """A detached overlay through fsopen; each layer is a parameter of its own, so that there may be
    hundreds."""
    context = fsopen("overlay")
    try:
        fsconfig_string(context, "source", "tiffin")
        for lower in root.lower:
            _directory_parameter(context, "lowerdir+", lower)
        if root.upper:
            _directory_parameter(context, "upperdir", root.upper)
            _directory_parameter(context, "workdir", root.work)
        for key, value in _overlay_words(data):
            if value is None:
                fsconfig_flag(context, key)
            else:
                fsconfig_string(context, key, value)
        fsconfig_create(context)
        return fsmount(context, attributes)
    except OSError as error:
        raise explain(error, context, "overlay") from error
    finally:
        os.close(context)


def _directory_parameter(context: int, key: str, path: str) -> None:
    raw = os.fsencode(path)
    if len(raw) <= _STRING_LIMIT and b"\\" not in raw:
        fsconfig_string(context, key, raw)
        return
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsconfig_fd(context, key, fd)
    finally:
        os.close(fd)


def overlay_by_path(root: RootMount, attributes: int, data: Sequence[tuple[str, str | None]]) -> int:
    """The same through mount(2), for kernels without the new parameters: mounted on the upper directory's
    parent for a moment, then taken off as a detached mount."""

    def escaped(path: str) -> str:
        return path.replace("\\", "\\\\").replace(",", "\\,")

    words = [f"lowerdir={':'.join(escaped(path).replace(':', chr(92) + ':') for path in root.lower)}"]
    if root.upper:
        words += [f"upperdir={escaped(root.upper)}", f"workdir={escaped(root.work)}"]
    words += [key if value is None else f"{key}={value}" for key, value in _overlay_words(data)]
    text = ",".join(words)
    if len(os.fsencode(text)) >= _PAGE:
        raise Unsupported(
            f"{len(root.lower)} layers are more than this kernel's mount call takes; use Linux 6.7 or later, "
            "or a shorter --root"
        )
    flags = 0
    for attribute, flag in ((MOUNT_ATTR_RDONLY, MS_RDONLY), (2, MS_NOSUID), (4, MS_NODEV), (8, MS_NOEXEC)):
        flags |= flag if attributes & attribute else 0
    # A mount of this child's own namespace; open_tree copies it detached and the original goes.
    place = os.path.dirname(root.upper or root.lower[0])
    mount("tiffin", place, "overlay", flags, text)
    fd = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE)
    _detach(place)
    return fd


def _detach(place: str) -> None:
    from tiffin.kernel.mounts import umount

    umount(place)


# ---- mounts in the root
# --------------------------------------------------------------------------------------


def system_directory(root_fd: int, path: str) -> int:
    """The image's /proc, /sys or /dev, made if absent. Raises InvalidArgument when it is anything else than a
    directory of the root itself."""
    name = path.lstrip("/")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    for attempt in (1, 2):
        try:
            return openat2(root_fd, name, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno in (ELOOP, ENOTDIR):
                raise InvalidArgument(
                    f"{path} of the image is not a directory; such an image is not started: make it a plain "
                    "directory or leave it out"
                ) from error
            if error.errno != ENOENT or attempt == 2:
                raise EngineError(f"cannot open {path} of the image: {error.strerror}") from error
        with step(f"make the mount point {path}"):
            os.mkdir(name, 0o755, dir_fd=root_fd)
    raise AssertionError("unreachable")


def attach(root_fd: int, mount_fd: int, path: str) -> None:
    """Put a detached mount at `path` in the root, making the mount point; consumes nothing."""
    if path in _SYSTEM:
        target = system_directory(root_fd, path)
    elif stat.S_ISDIR(os.fstat(mount_fd).st_mode):
        target = _directory_target(root_fd, path)
    else:
        target = _file_target(root_fd, path)
    try:
        if filesystem_type(target) == PROC_SUPER_MAGIC and not path.startswith("/proc"):
            raise InvalidArgument(f"cannot mount at {path}: in this image it leads into /proc")
        move_mount(mount_fd, target)
    except NotADirectoryError as error:
        raise InvalidArgument(
            f"cannot mount at {path}: one is a directory and the other is not; "
            "check that both the source and the target are what you mean"
        ) from error
    except OSError as error:
        raise EngineError(f"cannot mount at {path}: {error.strerror}") from error
    finally:
        os.close(target)


def _directory_target(root_fd: int, path: str) -> int:
    try:
        return mkdirs_in_root(root_fd, path, 0o755)
    except NotADirectoryError as error:
        raise InvalidArgument(
            f"cannot mount a directory at {path}: there is something else than a directory on the way"
        ) from error
    except OSError as error:
        raise _no_mount_point(path, error) from error


def _file_target(root_fd: int, path: str) -> int:
    at = path
    for _ in range(_MAX_LINKS):
        try:
            return open_in_root(root_fd, at, os.O_PATH)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _no_mount_point(path, error) from error
        try:
            fd, link = _make_file(root_fd, at)
        except OSError as error:
            raise _no_mount_point(path, error) from error
        if fd >= 0:
            return fd
        at = link if link.startswith("/") else f"{os.path.dirname(at)}/{link}"
    raise InvalidArgument(f"cannot make the mount point {path}: too many symbolic links")


def _make_file(root_fd: int, at: str) -> tuple[int, str]:
    """A new empty file's descriptor, or -1 and the text of a dangling link that stands in its place."""
    directory, _, name = at.rpartition("/")
    parent = mkdirs_in_root(root_fd, directory or "/", 0o755)
    try:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
        except FileExistsError:
            return -1, os.readlink(name, dir_fd=parent)
        return openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), ""
    finally:
        os.close(parent)


def _no_mount_point(path: str, error: OSError) -> Exception:
    if error.errno == EROFS:
        return InvalidArgument(f"cannot make the mount point {path}: that file system is read-only")
    return EngineError(f"cannot make the mount point {path}: {error.strerror}")


def mount_filesystem(root_fd: int, kind: str, path: str, options: MountOptions, source: str = "") -> int:
    """Make a filesystem and attach it at `path`; returns its root's descriptor."""
    with step(f"mount a {kind} at {path}"):
        data = tuple((key, value) for key, value in options.data if key != "newinstance")
        fd = make_filesystem(kind, data, options.set, source)
    attach(root_fd, fd, path)
    if options.propagation and options.propagation != MS_PRIVATE:
        with step(f"set the propagation of {path}"):
            mount_setattr(fd, "", 0, propagation=options.propagation)
    return fd


def clone_of(fd: int) -> int:
    """A detached bind of the very file or directory that `fd` is."""
    return open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH)
