"""Unpack tar streams into trees: layers as overlay directories, and plain archives (image-spec, layer.md).

    caller            TarReader              Tree                       kernel
      │ apply_layer ───▶│ entry ──────────────▶│ parent's descriptor ────▶│ held, or openat2 in the root
      │                 │ data ─────────────────────────────────────────▶│ write to O_EXCL|O_NOFOLLOW file
      │                 │ metadata ─────────────────────────────────────▶│ chown, chmod, xattrs, times, by fd

What an archive may bring: files, directories, links, fifos, devices in the kernel's number range, `user.*`
attributes except `user.overlay.*`, and `security.capability`. Other attributes are dropped without a word:
`trusted.*` steers overlayfs, `system.*` and the rest of `security.*` belong to the host. Nothing is synced to
disk here: the caller calls syncfs once.
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import Corrupt
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.failures import reading_failed
from tiffin.layer.limits import DEFAULT_LIMITS, Limits
from tiffin.layer.names import AUFS_METADATA, OPAQUE, WHITEOUT, clean_name, shown
from tiffin.layer.tarreader import Readable, TarReader
from tiffin.layer.tree import Onto, Tree
from tiffin.layer.walk import is_whiteout
from tiffin.layer.xattrs import is_kept
from tiffin.typed import NamedTuple

_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
_MAX_MAJOR, _MAX_MINOR = 0xFFF, 0xFFFFF  # the kernel's dev_t: 12 and 20 bits
_DEVICES = (Kind.CHAR, Kind.BLOCK)
_NODE_TYPES = {Kind.FIFO: stat.S_IFIFO, Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK}


class Applied(NamedTuple):
    """What was unpacked: the apparent size of all files in bytes, and the number of members read."""

    size: int
    entries: int


def apply_layer(tar: Readable, dest_fd: int, limits: Limits = DEFAULT_LIMITS) -> Applied:
    """Unpack one layer (decompressed) into an empty directory, in the form that overlayfs stacks: whiteouts
    become character devices 0:0, opaque markers the attribute trusted.overlay.opaque (on the root too).

    Reads `tar` to its end, so that a digest taken on the way covers all of it: verify that (DiffID) before
    the result gets a name. On any error the directory holds a part of the layer and is to be thrown away.
    Raises Corrupt, LimitExceeded, NoSpace, PermissionDenied, Unsupported, EngineError.
    """
    return _unpack(tar, dest_fd, limits, "", overlay=True)


def extract(
    tar: Readable,
    root_fd: int,
    path: str = "",
    *,
    owner: tuple[int, int] | None = None,
    devices: bool = True,
    onto: Onto | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Applied:
    """Unpack a plain archive below the directory `path` of the tree `root_fd`, made if it is missing.

    Names starting with `.wh.` are files like any other. Nothing leads out of `root_fd`: absolute links are
    taken from it, as in a container. Directories are merged, anything else is replaced; a directory that the
    archive does not name keeps its time. `owner` (uid, gid) overrides the archive's; without `devices`, device
    nodes are passed over. With `onto` the tree is one in use, see there. Not atomic: what was unpacked before an
    error stays. Raises as `apply_layer`.
    """
    prefix = clean_name(path, limits)
    return _unpack(
        tar,
        root_fd,
        limits,
        prefix,
        overlay=False,
        owner=owner,
        leave_out=() if devices else _DEVICES,
        onto=onto,
    )


def _unpack(
    tar: Readable,
    root_fd: int,
    limits: Limits,
    prefix: str,
    *,
    overlay: bool,
    owner: tuple[int, int] | None = None,
    leave_out: tuple[Kind, ...] = (),
    onto: Onto | None = None,
) -> Applied:
    reader = TarReader(tar, limits)
    current = ""
    try:
        with Tree(root_fd, overlay=overlay, max_implied=limits.entries, onto=onto) as tree:
            unpacker = _Unpacker(reader, tree, limits, prefix, overlay=overlay, keep_top=onto is not None)
            for entry in reader:
                current = entry.name
                if entry.kind in leave_out:
                    continue
                if owner is not None:
                    entry.uid, entry.gid = owner
                unpacker.unpack(entry)
            current = ""
            reader.drain()
    except OSError as error:
        raise reading_failed(error, f"archive entry {shown(current)}" if current else "archive") from error
    return Applied(reader.apparent_bytes, reader.entries)


class _Unpacker:
    """Makes one entry after the other in a tree."""

    def __init__(
        self, reader: TarReader, tree: Tree, limits: Limits, prefix: str, *, overlay: bool, keep_top: bool
    ) -> None:
        self._reader = reader
        self._tree = tree
        self._limits = limits
        self._prefix = prefix
        self._overlay = overlay
        self._keep_top = keep_top

    def unpack(self, entry: Entry) -> None:
        path = self._placed(entry.name)
        above, _, base = path.rpartition("/")
        kind = entry.kind
        if self._overlay and WHITEOUT in path and self._whiteout(entry, above, base):
            return
        if kind is Kind.DIRECTORY:
            self._directory(entry, path)
            return
        if not base:
            raise Corrupt(f"archive entry {shown(entry.name)} would replace the root directory")
        if kind is Kind.FILE:
            self._file(entry, above, base)
        elif kind is Kind.SYMLINK:
            self._symlink(entry, above, base)
        elif kind is Kind.HARDLINK:
            self._hardlink(entry, above, base)
        else:
            self._node(entry, above, base)

    def _placed(self, name: str) -> str:
        path = clean_name(name, self._limits)
        if not self._prefix:
            return path
        return f"{self._prefix}/{path}" if path else self._prefix

    def _whiteout(self, entry: Entry, above: str, base: str) -> bool:
        """Do what a name with `.wh.` in it stands for (T4); False when it is only a name after all."""
        for part in above.split("/"):
            if part.startswith(AUFS_METADATA):
                return True
            if part.startswith(WHITEOUT):
                raise Corrupt(f"archive entry {shown(entry.name)} is below a whiteout")
        if not base.startswith(WHITEOUT):
            return False
        hidden = base[len(WHITEOUT) :]
        if base == OPAQUE:
            self._tree.make_opaque(above)
        elif hidden in ("", ".", ".."):
            raise Corrupt(f"archive entry {shown(entry.name)} is a whiteout for nothing")
        elif not base.startswith(AUFS_METADATA):
            self._tree.whiteout(above, hidden)
        return True

    def _directory(self, entry: Entry, path: str) -> None:
        fd = self._tree.make_directory(path)
        if self._keep_top and path == self._prefix:
            return
        _set_metadata(fd, entry)
        self._tree.set_times(path, entry.mtime_ns)

    def _file(self, entry: Entry, above: str, base: str) -> None:
        try:
            fd = os.open(base, _CREATE, 0o600, dir_fd=self._tree.directory(above))
        except FileExistsError:
            self._tree.remove(above, base)
            fd = os.open(base, _CREATE, 0o600, dir_fd=self._tree.directory(above))
        try:
            if entry.size:
                self._reader.read_into(fd)
            _set_metadata(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _symlink(self, entry: Entry, above: str, base: str) -> None:
        if not entry.linkname:
            raise Corrupt(f"archive entry {shown(entry.name)} is a link to nothing")
        parent = self._tree.directory(above)
        try:
            os.symlink(entry.linkname, base, dir_fd=parent)
        except FileExistsError:
            self._tree.remove(above, base)
            parent = self._tree.directory(above)
            os.symlink(entry.linkname, base, dir_fd=parent)
        os.chown(base, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _hardlink(self, entry: Entry, above: str, base: str) -> None:
        """Another name for an inode of this tree. Its metadata is what the first name brought: a link to a
        link to a file outside must not change that file (T3)."""
        target = self._placed(entry.linkname)
        target_above, _, target_base = target.rpartition("/")
        if target != (f"{above}/{base}" if above else base):
            self._tree.remove(above, base)
        parent = os.dup(self._tree.directory(above))
        try:
            source = self._tree.directory(target_above)
            status = os.stat(target_base or ".", dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
                raise Corrupt(f"archive entry {shown(entry.name)} is a hard link to what is no file")
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            if (above, base) != (target_above, target_base):  # else a link to itself
                raise
        except FileNotFoundError as error:
            raise Corrupt(
                f"archive entry {shown(entry.name)} is a hard link to {shown(entry.linkname)}, a missing name"
            ) from error
        finally:
            os.close(parent)

    def _node(self, entry: Entry, above: str, base: str) -> None:
        """A fifo or device. Its descriptor is O_PATH, so that nothing is opened; metadata goes through
        /proc."""
        if not (0 <= entry.major <= _MAX_MAJOR and 0 <= entry.minor <= _MAX_MINOR):
            raise Corrupt(f"archive entry {shown(entry.name)}: no device {entry.major}:{entry.minor}")
        if entry.kind is Kind.CHAR and not entry.major and not entry.minor:
            raise Corrupt(f"archive entry {shown(entry.name)} is device 0:0, which poses as a whiteout")
        file_type = _NODE_TYPES[entry.kind]
        self._tree.remove(above, base)
        parent = self._tree.directory(above)
        os.mknod(base, file_type | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)
        fd = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(fd).st_mode) != file_type:
                raise Corrupt(f"archive entry {shown(entry.name)} was swapped while it was made")
            inode = f"/proc/self/fd/{fd}"
            os.chown(inode, entry.uid, entry.gid)
            os.chmod(inode, entry.mode)
            os.utime(inode, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)


def _set_metadata(fd: int, entry: Entry) -> None:
    """Owner, then mode (chown clears setuid), then attributes (chown clears capabilities)."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    for name, value in entry.xattrs.items():
        if is_kept(name):
            os.setxattr(fd, name, value)
