"""The --mount flags of a RUN carried out: each becomes a detached mount for its container.

    bind      files of a context: a copy in the workspace; of a stage or image: its layers, mounted here, the path in
              them found below their root. What is written there goes to the workspace, and with it
    cache     a directory of `cache_mounts`, held locked
    secret    a file on a tmpfs that exists in this process's mount namespace alone
    ssh       a socket there, which `agent.Forwarder` listens at

Everything is reached by descriptor: no path that an image, a context or a Dockerfile chose is resolved by the kernel
outside of the tree that it belongs to.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from errno import EINVAL, ELOOP, ENOTDIR

from tiffin.build.contexts.secrets import read_secret
from tiffin.build.copying.mounting import detached
from tiffin.build.copying.place import Ownership, Placer
from tiffin.build.copying.sources import Picked, SourceTree
from tiffin.build.planning.graph import MountWork, RunWork
from tiffin.build.planning.keys import step_key
from tiffin.build.running import cache_mounts
from tiffin.errors import NotFound
from tiffin.kernel import mounts
from tiffin.kernel.paths import open_in_root
from tiffin.snapshot import Mount
from tiffin.state import Store
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.build.contexts.agent import Forwarder
    from tiffin.build.solving.steps import Around, Stack
    from tiffin.build.workers import Channel

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


class Ready(NamedTuple):
    """What the container gets: `mounts` in order, `env` beside its own, and agents to attend to. `again` are the same
    mounts for a second container: a detached mount can be attached once."""

    mounts: tuple[Mount, ...]
    env: tuple[str, ...]
    agents: tuple[Forwarder, ...]
    again: tuple[Mount, ...]


def prepare(
    stack: Stack, work: RunWork, around: Around, store: Store, channel: Channel, undo: ExitStack
) -> Ready:
    """Make the mounts of `work`; `undo` takes them down. Raises NotFound for what is not there, LimitExceeded."""
    maker = _Maker(stack, around, store, channel, undo)
    # Everybody waits for caches in one order, so that nobody waits for somebody who waits for him.
    for mount in sorted(work.mounts, key=lambda each: each.id):
        if mount.kind == "cache":
            maker.hold(mount)
    found = [made for mount in work.mounts for made in maker.make(mount)]
    again = (mount._replace(fd=maker.spares.get(mount.fd, -1)) for mount in found)
    return Ready(tuple(found), tuple(maker.env), tuple(maker.agents), tuple(again))


class _Maker:
    def __init__(self, stack: Stack, around: Around, store: Store, channel: Channel, undo: ExitStack) -> None:
        self._stack = stack
        self._around = around
        self._store = store
        self._channel = channel
        self._undo = undo
        self._count = 0
        self._private = -1
        self._caches: dict[MountWork, cache_mounts.CacheMount] = {}
        self.spares: dict[int, int] = {}  # by the mount that each is a copy of
        self.env: list[str] = []
        self.agents: list[Forwarder] = []

    def make(self, mount: MountWork) -> list[Mount]:
        """None or one."""
        if mount.kind == "bind":
            return [self._bind(mount)]
        if mount.kind == "cache":
            return [self._cache(mount)]
        if mount.kind == "tmpfs":
            words = ["nosuid", "nodev", *([f"size={mount.size}"] if mount.size else [])]
            return [Mount(mount.target, "tmpfs", "tmpfs", (*words, *(["ro"] if mount.readonly else [])))]
        return self._secret(mount) if mount.kind == "secret" else self._agent(mount)

    # ---- files

    def _bind(self, mount: MountWork) -> Mount:
        if mount.picked:
            place = self._place()
            with _opened(place) as fd:
                copy_picked(self._around, mount.context, mount.picked[0], fd)
                inner = mount.picked[0].name if not mount.picked[0].is_directory else ""
                return self._shown(mount, fd, inner, "the build context")
        layers = [layer.diff_id for layer in self._around.shown[mount.at]]
        with self._tree(layers, writable=not mount.readonly) as root:
            return self._shown(mount, root, mount.source, "what is mounted")

    def _tree(self, diff_ids: list[str], *, writable: bool) -> _opened:
        """The merged tree of layers, mounted in this namespace; what is written to it is thrown away."""
        snapshots = self._stack.rooms.snapshots
        directory = self._place()
        if writable:
            upper, work = snapshots.prepare_writable(directory, diff_ids)
            root = snapshots.root_mount(diff_ids, upper, work)
        else:
            root = snapshots.root_mount(diff_ids, readonly=True)
        tree = detached(root)
        try:
            return _opened(self._attach(tree))
        finally:
            os.close(tree)

    def _attach(self, tree: int) -> str:
        place = self._place()
        with _opened(place) as fd:
            mounts.move_mount(tree, fd)
        self._undo.callback(mounts.umount, place)
        return place

    def _place(self) -> str:
        """A new directory in the workspace."""
        self._count += 1
        path = f"{self._stack.directory}/mount-{self._count}"
        os.mkdir(path, 0o755)
        return path

    def _shown(
        self, mount: MountWork, root: int, source: str, title: str, words: tuple[str, ...] = ()
    ) -> Mount:
        """A mount of what `source` is below `root`."""
        try:
            inner = open_in_root(root, source, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{mount.source!r} does not exist in {title}") from error
        except OSError as error:
            if error.errno not in (ELOOP, ENOTDIR):
                raise
            raise NotFound(f"{mount.source!r} in {title} goes through a link that leads nowhere") from error
        try:
            fd = self._cloned(inner)
            if self._around.lent.shell.fd >= 0:
                self.spares[fd] = self._cloned(inner)
        finally:
            os.close(inner)
        access = "ro" if mount.readonly else "rw"
        return Mount(mount.target, "bind", mount.kind, ("bind", access, "nodev", "rprivate", *words), fd=fd)

    def _cloned(self, inner: int) -> int:
        fd = mounts.open_tree(inner, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
        self._undo.callback(os.close, fd)
        return fd

    # ---- caches

    def hold(self, mount: MountWork) -> None:
        """Lock the cache that `mount` wants, until the end."""
        name = mount.id

        def waiting() -> None:
            self._channel.tell(
                {"notice": f"waiting for the cache mount {name!r}, which another step has locked"}
            )

        if _cache_key(mount) in self._caches:  # mounted twice in this step
            return
        layers = [layer.diff_id for layer in self._around.shown.get(mount.at, ())]
        picked = [self._around.inputs.digest(mount.context, each) for each in mount.picked]
        begun = [layers, picked, mount.source if layers else "", mount.mode, mount.uid, mount.gid]
        owner = (mount.mode, mount.uid, mount.gid)
        plain = not layers and not picked and owner in ((-1, 0, 0), (0o755, 0, 0))
        origin = "" if plain else step_key("cache-mount", "", begun)
        wish = cache_mounts.Wish(
            name, origin, mount.sharing, lambda path: self._begin_cache(mount, path), waiting
        )
        found = cache_mounts.acquire(self._store, wish, self._stack.directory)
        self._undo.callback(found.close)
        self._caches[_cache_key(mount)] = found

    def _cache(self, mount: MountWork) -> Mount:
        inner = mount.source if mount.at < 0 else ""
        data = self._caches[_cache_key(mount)].data
        return self._shown(mount, data, inner, f"the cache mount {mount.id!r}")

    def _begin_cache(self, mount: MountWork, path: str) -> None:
        os.mkdir(path, 0o755)
        with _opened(path) as fd:
            if mount.picked:
                copy_picked(self._around, mount.context, mount.picked[0], fd)
            elif mount.at >= 0:
                layers = [layer.diff_id for layer in self._around.shown[mount.at]]
                with self._tree(layers, writable=False) as root:
                    picked = SourceTree(root, "what the cache mount begins with").pick_one(mount.source)
                    if not picked.is_directory:
                        raise NotFound(
                            f"{mount.source!r}, which the cache mount begins with, is no directory"
                        )
                    Placer(fd, Ownership(None, None)).put_directory(root, picked, "/")
                    top = picked.nodes[0]
                    os.fchown(fd, top.uid, top.gid)
                    os.fchmod(fd, stat.S_IMODE(top.mode))
            if (mount.uid, mount.gid) != (0, 0):
                os.fchown(fd, mount.uid, mount.gid)
            if mount.mode >= 0 or (mount.at < 0 and not mount.picked):
                os.fchmod(fd, mount.mode if mount.mode >= 0 else 0o755)

    # ---- secrets and agents

    def _secret(self, mount: MountWork) -> list[Mount]:
        source = self._around.lent.secrets.get(mount.id)
        data = read_secret(mount.id, source) if source is not None else None
        if data is None:
            if mount.required:
                raise NotFound(
                    f"the secret {mount.id!r} was not given; give it with --secret id={mount.id},src=FILE"
                )
            return []
        if mount.env:
            if b"\0" in data:
                raise NotFound(f"the secret {mount.id!r} cannot be in {mount.env}: it has a NUL byte")
            self.env.append(f"{mount.env}={os.fsdecode(data)}")
        if not mount.target:
            return []
        self._count += 1
        name = f"secret-{self._count}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._tmpfs())
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchown(fd, mount.uid, mount.gid)
            os.fchmod(fd, mount.mode if mount.mode >= 0 else 0o400)
        return [self._shown(mount, self._tmpfs(), name, "the secrets", ("nosuid", "noexec"))]

    def _agent(self, mount: MountWork) -> list[Mount]:
        from tiffin.build.contexts.agent import Forwarder

        agent = self._around.lent.agents.get(mount.id)
        if agent is None:
            if mount.required:
                raise NotFound(f"the ssh agent {mount.id!r} was not given; give it with --ssh {mount.id}")
            return []
        self._count += 1
        name = f"agent-{self._count}"
        # By the directory's descriptor: a socket's path may be no longer than 107 bytes.
        forwarder = Forwarder(agent, f"/proc/self/fd/{self._tmpfs()}/{name}")
        self._undo.callback(forwarder.close)
        os.chown(name, mount.uid, mount.gid, dir_fd=self._tmpfs(), follow_symlinks=False)
        os.chmod(name, mount.mode if mount.mode >= 0 else 0o600, dir_fd=self._tmpfs())
        if not self.agents:
            self.env.append(f"SSH_AUTH_SOCK={mount.target}")
        self.agents.append(forwarder)
        # A read-only mount does not keep anybody from connecting.
        return [self._shown(mount, self._tmpfs(), name, "the agents", ("nosuid", "noexec"))]

    def _tmpfs(self) -> int:
        """The descriptor of a filesystem in memory that only this process has mounted."""
        if self._private < 0:
            tree = _memory()
            try:
                place = self._attach(tree)
            finally:
                os.close(tree)
            self._private = os.open(place, _DIRECTORY)
            self._undo.callback(os.close, self._private)
        return self._private


def _memory() -> int:
    """A detached tmpfs, never swapped to disk where the kernel can say so (6.4)."""
    words = [("mode", "0700"), ("size", "64m")]
    try:
        return mounts.make_filesystem("tmpfs", [*words, ("noswap", None)], _SAFE, "secrets")
    except OSError as error:
        if error.errno != EINVAL:
            raise
    return mounts.make_filesystem("tmpfs", words, _SAFE, "secrets")


def _cache_key(mount: MountWork) -> MountWork:
    """What two mounts of one cache have in common."""
    source = (
        mount.source if mount.at >= 0 else ""
    )  # of a cache that began empty it is what this mount shows of it
    return mount._replace(kind="cache", target="", source=source, readonly=False, sharing="")


class _opened:
    """A directory's descriptor while the context lasts."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, _DIRECTORY)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def copy_picked(around: Around, context: str, picked: Picked, target: int) -> None:
    """Copy what was picked in a context into the directory `target`: owned by root, as a COPY would."""
    top = around.inputs.context(context).fd
    placer = Placer(target, Ownership((0, 0), None))
    if picked.is_directory:
        placer.put_directory(top, picked, "/")
        os.fchmod(target, stat.S_IMODE(picked.nodes[0].mode))
    else:
        placer.put_file(top, picked, "/", into=True)
