"""Layers as overlayfs takes them: one directory each, whiteouts as 0:0 devices, stacked at mount time."""

import errno
import os

from tiffin.errors import Corrupt, EngineError, LimitExceeded, NoSpace
from tiffin.oci.digest import check_digest, is_digest
from tiffin.oci.mount import Mount
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from tiffin.state import Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROOT_MODE = 0o755  # of a layer that does not say
LAYERS_MAX = 500  # fs/overlayfs: OVL_MAX_STACK

# What the layers' format relies on, whatever this kernel's defaults are: an upper that becomes a layer holds
# whole files and directories under their own names, and nothing that binds it to the lowers it was made over.
# Devices in an image are only files: /dev is a filesystem of the runtime's own.
_OPTIONS = ("nodev", "redirect_dir=off", "metacopy=off", "index=off")


class Snapshots:
    """A SnapshotStore for overlayfs over the engine's `layers/` and the table of the same name."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._layout = store.layout

    def stage_layer(self) -> "StagedTree":
        return StagedTree(self)

    def has_layer(self, diff_id: str) -> bool:
        row = self._store.db.execute(
            "SELECT 1 FROM layers WHERE diff_id = ?", (check_digest(diff_id),)
        ).fetchone()
        return row is not None and os.path.isdir(self._layout.layer(diff_id))

    def layer_path(self, diff_id: str) -> str:
        path = self._layout.layer(check_digest(diff_id, "diff_id"))
        if not os.path.isdir(path):
            raise Corrupt(f"layer {diff_id} is missing from {self._layout.layers}; load its image again")
        return path

    def root_mount(
        self,
        diff_ids: "Sequence[str]",
        upper: str = "",
        work: str = "",
        readonly: bool = False,
        mount_points: bool = False,
    ) -> Mount:
        # overlayfs refuses one directory twice. Whatever a layer says at a lower place is said again by its
        # topmost one, so that one alone gives the same tree.
        order = dict.fromkeys(reversed(diff_ids))
        if len(order) > LAYERS_MAX:
            raise LimitExceeded(f"the image has {len(order)} layers; overlayfs stacks {LAYERS_MAX} at most")
        lower: list[str] = []
        for diff_id in order:
            lower.append(self.layer_path(diff_id))
            if _is_opaque(lower[-1]):  # overlayfs overlooks the mark on the root of a lower layer
                break
        if mount_points:
            lower.append(self._mount_points())
        options = (*_OPTIONS, "ro") if readonly or not upper else _OPTIONS
        return Mount("", "overlay", "overlay", options, tuple(lower) or (self._empty(),), upper, work)

    def _empty(self) -> str:
        path = f"{self._layout.layers}/empty"
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass
        return path

    def _mount_points(self) -> str:
        """A layer of what the runtime mounts on. At the bottom it gives way to all that an image has, and keeps
        these out of the upper, which becomes `diff` and `commit`."""
        path = f"{self._layout.layers}/mount-points"
        if os.path.isdir(path):
            return path
        try:
            with self._store.adding():  # no collector takes the half of it away
                self._make_mount_points(path)
        except OSError as error:
            raise _failed("prepare the layer of mount points", error) from error
        return path

    def _make_mount_points(self, path: str) -> None:
        aside = f"{self._layout.staging}/mount-points-{os.urandom(8).hex()}"
        for name in ("", "dev", "proc", "sys", "etc"):
            os.mkdir(f"{aside}/{name}")
            os.chmod(f"{aside}/{name}", _ROOT_MODE)
        for name in ("hosts", "hostname", "resolv.conf"):
            os.close(os.open(f"{aside}/etc/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        try:
            os.rename(aside, path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another made it meanwhile
                raise

    def prepare_writable(self, directory: str, diff_ids: "Sequence[str]" = ()) -> tuple[str, str]:
        upper, work = f"{directory}/upper", f"{directory}/work"
        try:
            for path, mode in ((upper, 0o755), (work, 0o700)):
                try:
                    os.mkdir(path, mode)
                except FileExistsError:
                    continue
                if path is upper:
                    self._like_top(upper, diff_ids)
        except OSError as error:
            raise _failed(f"prepare {directory}", error) from error
        return upper, work

    def _like_top(self, upper: str, diff_ids: "Sequence[str]") -> None:
        mode, uid, gid = 0o755, 0, 0
        top = None
        if diff_ids:
            top = os.stat(self.layer_path(diff_ids[-1]), follow_symlinks=False)
            mode, uid, gid = top.st_mode & 0o7777, top.st_uid, top.st_gid
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.chown(upper, uid, gid)
        os.chmod(upper, mode)
        if top is not None:
            os.utime(upper, ns=(top.st_atime_ns, top.st_mtime_ns))

    def adopt_upper(self, upper: str, diff_id: str, size: int = -1) -> None:
        try:
            fd = os.open(upper, _DIRECTORY)
            try:
                self._place(fd, upper, diff_id, _tree_size(fd) if size < 0 else size)
            finally:
                os.close(fd)
        except OSError as error:
            raise _failed(f"keep {upper} as a layer", error) from error

    def _place(self, fd: int, path: str, diff_id: str, size: int) -> bool:
        """Sync the tree, rename it to its place, record it; False (the tree stays where it was) if the layer
        exists already. A directory under its final name is always whole: it was synced before the rename."""
        import time

        from tiffin.kernel.paths import syncfs

        target = self._layout.layer(check_digest(diff_id, "diff_id"))
        placed = False
        if not os.path.isdir(target):
            syncfs(fd)
            try:
                os.rename(path, target)
                placed = True
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another made it meanwhile
                    raise
        self._sync_names()
        with self._store.transaction() as db:
            row = (diff_id, size, time.time_ns())
            db.execute(
                "INSERT INTO layers (diff_id, size, added) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row
            )
        return placed

    def _sync_names(self) -> None:
        fd = os.open(self._layout.layers, _DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def diff_ids(self) -> "Iterator[str]":
        for name in os.listdir(self._layout.layers):
            if is_digest(f"sha256:{name}"):
                yield f"sha256:{name}"

    def discard_layer(self, diff_id: str) -> str:
        path = self._layout.layer(check_digest(diff_id, "diff_id"))
        with self._store.transaction() as db:
            db.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
        waiting = f"{self._layout.staging}/layer-{os.urandom(8).hex()}"
        try:
            os.rename(path, waiting)
        except FileNotFoundError:
            return ""
        return waiting


class StagedTree:
    """A StagedLayer: one locked directory in staging. `fd` is open for as long as the context."""

    def __init__(self, snapshots: Snapshots) -> None:
        import fcntl

        from tiffin.kernel.inode_flags import spread_subdirectories

        self._snapshots = snapshots
        self._name = f"layer-{os.urandom(8).hex()}"
        self._path = f"{snapshots._layout.staging}/{self._name}"
        try:
            parent = os.open(snapshots._layout.staging, _DIRECTORY)
            try:
                spread_subdirectories(parent)
            finally:
                os.close(parent)
            os.mkdir(self._path, 0o755)
            self.fd = os.open(self._path, _DIRECTORY)
            os.fchmod(self.fd, _ROOT_MODE)  # as a container sees it, whatever the umask
            fcntl.flock(self.fd, fcntl.LOCK_EX)  # tells the collector that its maker lives
        except OSError as error:
            raise _failed("stage a layer", error) from error

    def __enter__(self) -> "StagedTree":
        return self

    def commit(self, diff_id: str, size: int) -> None:
        try:
            if self._snapshots._place(self.fd, self._path, diff_id, size):
                self._path = ""
        except OSError as error:
            raise _failed(f"keep layer {diff_id}", error) from error

    def replace(self, diff_id: str, size: int, check: "Callable[[], None]") -> None:
        from tiffin.kernel.paths import AT_FDCWD, rename_exchange, syncfs

        target = self._snapshots._layout.layer(check_digest(diff_id, "diff_id"))
        try:
            syncfs(self.fd)
            # No container can start within a transaction: its row says so before it mounts anything.
            with self._snapshots._store.transaction():
                check()
                if os.path.isdir(target):
                    rename_exchange(AT_FDCWD, self._path, AT_FDCWD, target)
        except OSError as error:
            raise _failed(f"replace layer {diff_id}", error) from error
        self.commit(diff_id, size)

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        if self.fd < 0:
            return
        try:
            if self._path:
                from tiffin.kernel.paths import remove_tree

                parent = os.open(self._snapshots._layout.staging, _DIRECTORY)
                try:
                    remove_tree(parent, self._name)
                finally:
                    os.close(parent)
        finally:
            os.close(self.fd)
            self.fd = -1


def _is_opaque(directory: str) -> bool:
    try:
        return os.getxattr(directory, "trusted.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False


def _tree_size(root: int) -> int:
    """The bytes of the regular files below `root`, each inode once. However deep: two directories are open
    at a time, and nothing else writes to the tree."""
    total = 0
    inodes: set[int] = set()
    pending: list[list[str]] = []
    fd = os.open(".", _DIRECTORY, dir_fd=root)
    try:
        while True:
            children = []
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        children.append(entry.name)
                    elif entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        if status.st_nlink == 1 or status.st_ino not in inodes:
                            total += status.st_size
                            inodes.add(status.st_ino)
            pending.append(children)
            while not pending[-1]:
                pending.pop()
                if not pending:
                    return total
                fd = _step(fd, "..")
            fd = _step(fd, pending[-1].pop())
    finally:
        os.close(fd)


def _step(fd: int, name: str) -> int:
    """Open a neighbour of the directory `fd` and close that; on failure `fd` stays open."""
    found = os.open(name, _DIRECTORY, dir_fd=fd)
    os.close(fd)
    return found


def _failed(what: str, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left to {what}; free some and try again")
    return EngineError(f"cannot {what}: {error}")
