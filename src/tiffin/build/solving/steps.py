"""How each kind of step is done. A step works in a process of its own, on a fresh upper over the layers
below:

    Workspace ─► upper over layers ─► write into it ─► its difference as a tar ─► blob + layer ─► (diff_id,
    ...)
                                      (copy, run)      hashed and compressed      the upper itself, renamed

An upper that stayed empty makes no layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tiffin.build.cache import Layer
from tiffin.build.contexts.context import Context
from tiffin.build.contexts.inputs import BuildInputs, Lent
from tiffin.build.copying.archive import unpack_archive
from tiffin.build.copying.fill import Filler, Learner
from tiffin.build.copying.mounting import mounted
from tiffin.build.copying.place import Ownership, Placer
from tiffin.build.copying.sources import Picked, SourceTree
from tiffin.build.copying.tree import Cursor, Node, file_digest, open_file, tree_digest
from tiffin.build.epoch import NO_EPOCH, clamp_times
from tiffin.build.planning.graph import CopyWork, DirectoryWork, MountWork, Outcome, RunWork
from tiffin.build.workers import Channel
from tiffin.build.workspace import Workspace
from tiffin.content import LocalContent
from tiffin.dockerfile.chmod import parse_chmod
from tiffin.errors import InvalidArgument
from tiffin.images import Images
from tiffin.kernel.paths import open_in_root
from tiffin.layer.diff import DiffResult, Growth, diff_tar, drop_marks
from tiffin.layer.tarwriter import Writable
from tiffin.snapshot import Mount, Snapshots
from tiffin.state import Layout, open_store
from tiffin.typed import Any, NamedTuple

Layers = tuple[Layer, ...]


class Around(NamedTuple):
    """What a RUN may take from besides the layers that it runs on: `shown` are the layers of other steps by their
    number, `lent` what the caller lends."""

    shown: Mapping[int, Layers]
    inputs: BuildInputs
    lent: Lent
    epoch: int = NO_EPOCH


Runner = Callable[["Stack", RunWork, Channel, Around], int]


class Rooms(NamedTuple):
    """What a worker opens for itself: nothing of the builder's own connection crosses a fork."""

    snapshots: Snapshots
    images: Images


def open_rooms(layout: Layout) -> Rooms:
    store = open_store(layout)
    snapshots = Snapshots(store)
    return Rooms(snapshots, Images(store, LocalContent(layout), snapshots))


class Stack:
    """A fresh writable upper over layers, in a workspace. A context manager."""

    def __init__(self, layout: Layout, layers: Layers, epoch: int = NO_EPOCH) -> None:
        self.rooms = open_rooms(layout)
        self.diff_ids = [layer.diff_id for layer in layers]
        self._epoch = epoch
        with ExitStack() as undo:  # a worker may be stopped before its `with` has begun
            self.directory = undo.enter_context(Workspace(layout.staging)).path
            self.upper, self.work = self.rooms.snapshots.prepare_writable(self.directory, self.diff_ids)
            self._pristine = _looks(self.upper)
            self._undo = undo.pop_all()

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)

    @property
    def mount(self) -> Mount:
        """The merged tree, everything written going to the upper."""
        return self.rooms.snapshots.root_mount(self.diff_ids, self.upper, self.work)

    def writable(self) -> AbstractContextManager[int]:
        """`mount`, mounted; see `mounted`."""
        return mounted(self.mount)

    def readonly(self) -> AbstractContextManager[int]:
        """The merged tree without the upper."""
        return mounted(self.rooms.snapshots.root_mount(self.diff_ids, readonly=True))

    def finish(self, growth: Growth | None = None) -> dict[str, Any]:
        """Make what was written, and what `growth` writes, a layer; nothing may have it mounted any more. The
        worker's result."""
        if growth is None and not os.listdir(self.upper) and _looks(self.upper) == self._pristine:
            return {"layer": None, "keep": True}
        written: list[DiffResult] = []
        with ExitStack() as opened:
            upper = opened.enter_context(_directory(self.upper))
            paths = self.rooms.snapshots.root_mount(self.diff_ids).lower
            lowers = [opened.enter_context(_directory(path)) for path in paths]
            if self._epoch != NO_EPOCH:
                clamp_times(upper, self._epoch)

            def produce(out: Writable) -> None:
                written.append(diff_tar(upper, out, lowers, growth))

            layer = self.rooms.images.write_layer(produce)
            drop_marks(upper, written[0].idle_marks)
        self.rooms.snapshots.adopt_upper(self.upper, layer.diff_id, written[0].size)
        return {"layer": list(layer), "keep": True}


@contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _looks(path: str) -> tuple[int, int, int]:
    status = os.stat(path, follow_symlinks=False)
    return status.st_mode, status.st_uid, status.st_gid


def make_directory(layout: Layout, work: DirectoryWork, below: Layers, epoch: int) -> dict[str, Any]:
    """WORKDIR. A user who is not to be found is root: /etc/passwd may come later."""
    with Stack(layout, below, epoch) as stack:
        with stack.writable() as root:
            try:
                owner = _owner(root, work.user) or (0, 0)
            except InvalidArgument:
                owner = (0, 0)
            placer = Placer(root, Ownership(owner, None))
            if not placer.is_directory(work.path):
                os.close(placer.make_directory(work.path))
        return stack.finish()


def execute(
    layout: Layout, work: RunWork, below: Layers, channel: Channel, run: Runner, around: Around
) -> dict[str, Any]:
    """RUN."""
    with Stack(layout, below, around.epoch) as stack:
        status = run(stack, work, channel, around)
        return {"status": status} if status else stack.finish()


class Taken(NamedTuple):
    """What a COPY or ADD takes from: the descriptor of the tree, what was picked in it, and whether archives there
    are unpacked."""

    top: int
    picked: list[Picked]
    unpack: bool


def copy(
    layout: Layout,
    work: CopyWork,
    below: Layers,
    sources: tuple[Outcome, ...],
    context: Context | None,
    lent: Lent,
    *,
    digest: bool,
    epoch: int = NO_EPOCH,
) -> dict[str, Any]:
    """COPY and ADD: from `context`, or where there is none from the stack of the one source; and what other sources
    have fetched. With `digest` the result also has the digest of each thing picked in the context, as it was
    copied."""
    with Stack(layout, below, epoch) as stack:
        with ExitStack() as trees:
            taken = _taken(stack, work, sources, context, lent, trees)
            reserved = None
            with stack.writable() as root:
                owner = _owner(root, work.chown)
                mode = parse_chmod(work.chmod) if work.chmod else None
                ownership = Ownership(owner or ((0, 0) if context is not None else None), mode, epoch)
                placer = Placer(root, ownership)
                first = taken[0].picked
                if (
                    len(taken) == len(first) == 1
                    and first[0].is_directory
                    and not (work.files or work.parents)
                ):
                    reserved = placer.reserve(work.dest, first[0])
                if reserved is None:
                    _place(placer, root, taken, work, owner)
            if reserved is None:
                result, steady = stack.finish(), placer.steady
            else:
                learn = context.learner(first[0]) if context is not None and digest else None
                result, steady = _fill(stack, reserved, ownership, taken[0].top, first[0], learn)
        result["keep"] = steady
        if context is not None and digest:
            result["digests"] = [context.digest(each) for each in work.picked]
            context.save_digests()
        return result


def _taken(
    stack: Stack,
    work: CopyWork,
    sources: tuple[Outcome, ...],
    context: Context | None,
    lent: Lent,
    trees: ExitStack,
) -> list[Taken]:
    """Every tree that is taken from; at least one."""
    if context is None:
        mount = stack.rooms.snapshots.root_mount(
            [layer.diff_id for layer in sources[0].layers], readonly=True
        )
        top = trees.enter_context(mounted(mount))
        return [Taken(top, _pick(top, work), unpack=False)]
    taken = [Taken(context.fd, list(work.picked), work.unpack[0])] if work.picked or not sources else []
    for number, source in enumerate(sources):
        from tiffin.build.contexts.fetch import bring

        path = bring(dict(source.told), f"{stack.directory}/fetched-{number}", lent)
        top = trees.enter_context(_directory(path))
        tree = SourceTree(top, "what was fetched")
        picked = tree.pick(source.told.get("name") or "/", work.exclude)
        taken.append(Taken(top, picked, work.unpack[1]))
    return taken


def _fill(
    stack: Stack, reserved: str, ownership: Ownership, top: int, picked: Picked, learn: Learner | None
) -> tuple[dict[str, Any], bool]:
    """Finish the step by filling the directory that is reserved for it; whether the source stayed as it was."""
    with _directory(stack.upper) as upper:
        filler = Filler(upper, reserved, ownership, learn)
        growth = filler.growth(top, picked)
        if not growth.path and len(picked.nodes) == 1:
            return stack.finish(), True
        return stack.finish(growth), filler.steady


def look(mount: Mount, work: CopyWork | MountWork) -> dict[str, Any]:
    """What of that which `work` takes from a stage counts for the key, as {"found": ...}."""
    with mounted(mount) as root:
        if isinstance(work, MountWork):
            found = [SourceTree(root, "what is mounted").pick_one(work.source)]
        else:
            found = _pick(root, work)
        return {"found": [[each.name, each.is_directory, _digest(root, each)] for each in found]}


def _owner(root: int, chown: str) -> tuple[int, int] | None:
    if not chown:
        return None
    from tiffin.build.copying.owner import find_owner

    return find_owner(root, chown)


def _pick(root: int, work: CopyWork) -> list[Picked]:
    tree = SourceTree(root, "the copied stage")
    return [
        picked for source in work.sources for picked in tree.pick(source, work.exclude, parents=work.parents)
    ]


def _digest(root: int, picked: Picked) -> str:
    base = open_in_root(root, picked.base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Cursor(base) as cursor:

            def digest_of(node: Node) -> str:
                fd = open_file(*cursor.parent(node.path))
                try:
                    return file_digest(fd, node.size)
                finally:
                    os.close(fd)

            return tree_digest(picked.nodes, digest_of, owners=True)
    finally:
        os.close(base)


def _place(
    placer: Placer, root: int, taken: list[Taken], work: CopyWork, owner: tuple[int, int] | None
) -> None:
    """Put all sources at the destination, by COPY's rules: into it when it is a directory, else as it."""
    count = sum(len(each.picked) for each in taken) + len(work.files)
    into = work.dest.endswith("/") or count > 1 or placer.is_directory(work.dest)
    for top, found, unpack in taken:
        for picked in found:
            archive = unpack and picked.nodes[0].is_file
            if archive and unpack_archive(top, picked, root, work.dest, placer, owner):
                continue
            if picked.is_directory:
                placer.put_directory(top, picked, work.dest, parents=work.parents)
            else:
                placer.put_file(top, picked, work.dest, into=into)
    for name, text in work.files:
        placer.put_text(name, text.encode("utf-8", "surrogateescape"), work.dest, into=into)
