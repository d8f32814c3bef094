"""How each kind of step is done. A step works in a process of its own, on a fresh upper over the layers
below:

    Workspace ─► upper over layers ─► write into it ─► its difference as a tar ─► blob + layer ─► (diff_id,
    ...)
                                      (copy, run)      hashed and compressed      the upper itself, renamed

An upper that stayed empty makes no layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tiffin.build.archive import unpack_archive
from tiffin.build.cache import Layer
from tiffin.build.context import Context
from tiffin.build.fill import Filler, Learner
from tiffin.build.mounting import mounted
from tiffin.build.place import Ownership, Placer, Reserved
from tiffin.build.plan import CopyWork, DirectoryWork, RunWork
from tiffin.build.sources import Picked, SourceTree
from tiffin.build.tree import Cursor, Node, file_digest, open_file, tree_digest
from tiffin.build.workers import Channel
from tiffin.build.workspace import Workspace
from tiffin.content import LocalContent
from tiffin.images import Images
from tiffin.kernel.paths import open_in_root
from tiffin.layer.diff import DiffResult, Growth, diff_tar, drop_marks
from tiffin.layer.tarwriter import Writable
from tiffin.snapshot import Mount, Snapshots
from tiffin.state import Layout, open_store
from tiffin.typed import Any, NamedTuple

Runner = Callable[["Stack", RunWork, Channel], int]
Layers = tuple[Layer, ...]


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

    def __init__(self, layout: Layout, layers: Layers) -> None:
        self.rooms = open_rooms(layout)
        self.diff_ids = [layer.diff_id for layer in layers]
        self._undo = ExitStack()
        self.directory = self._undo.enter_context(Workspace(layout.staging)).path
        self.upper, self.work = self.rooms.snapshots.prepare_writable(self.directory, self.diff_ids)
        self._pristine = _looks(self.upper)

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


def make_directory(layout: Layout, work: DirectoryWork, below: Layers) -> dict[str, Any]:
    """WORKDIR."""
    with Stack(layout, below) as stack:
        with stack.writable() as root:
            placer = Placer(root, Ownership((0, 0), -1))
            if not placer.is_directory(work.path):
                os.close(placer.make_directory(work.path))
        return stack.finish()


def execute(layout: Layout, work: RunWork, below: Layers, channel: Channel, run: Runner) -> dict[str, Any]:
    """RUN."""
    with Stack(layout, below) as stack:
        status = run(stack, work, channel)
        return {"status": status} if status else stack.finish()


def copy(
    layout: Layout, work: CopyWork, below: Layers, source: Layers, context: Context | None, *, digest: bool
) -> dict[str, Any]:
    """COPY and ADD: from `context`, or where there is none from the stack `source`. With `digest` the result also
    has the digest of each thing picked in the context, as it was copied."""
    with Stack(layout, below) as stack:
        with ExitStack() as source_tree:
            top, picked = -1, list(work.picked)
            if context is not None:
                top = context.fd
            else:
                mount = stack.rooms.snapshots.root_mount([layer.diff_id for layer in source], readonly=True)
                top = source_tree.enter_context(mounted(mount))
                picked = _pick(top, work.sources)
            reserved = None
            with stack.writable() as root:
                owner = _owner(root, work.chown)
                ownership = Ownership(owner or ((0, 0) if context is not None else None), work.chmod)
                placer = Placer(root, ownership)
                if len(picked) == 1 and picked[0].is_directory and not work.files:
                    reserved = placer.reserve(work.dest)
                if reserved is None:
                    _place(placer, root, top, picked, work, owner)
            if reserved is None:
                result, steady = stack.finish(), placer.steady
            else:
                result, steady = _fill(
                    stack,
                    reserved,
                    ownership,
                    top,
                    picked[0],
                    context.learner(picked[0]) if context is not None and digest else None,
                )
        result["keep"] = steady
        if context is not None and digest:
            result["digests"] = [context.digest(each) for each in picked]
            context.save_digests()
        return result


def _fill(
    stack: Stack, reserved: Reserved, ownership: Ownership, top: int, picked: Picked, learn: Learner | None
) -> tuple[dict[str, Any], bool]:
    """Finish the step by filling the directory that is reserved for it; whether the source stayed as it was."""
    with _directory(stack.upper) as upper:
        filler = Filler(upper, reserved, ownership, learn)
        growth = filler.growth(top, picked)
        if not growth.path and len(picked.nodes) == 1:
            return stack.finish(), True
        return stack.finish(growth), filler.steady


def look(mount: Mount, sources: tuple[str, ...]) -> dict[str, Any]:
    """What of `sources` in a stage counts for the key, as {"found": ...}."""
    with mounted(mount) as root:
        found = _pick(root, sources)
        return {"found": [[each.name, each.is_directory, _digest(root, each)] for each in found]}


def _owner(root: int, chown: str) -> tuple[int, int] | None:
    if not chown:
        return None
    from tiffin.build.owner import find_owner

    return find_owner(root, chown)


def _pick(root: int, sources: tuple[str, ...]) -> list[Picked]:
    tree = SourceTree(root, "the copied stage")
    return [picked for source in sources for picked in tree.pick(source)]


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
    placer: Placer, root: int, top: int, found: list[Picked], work: CopyWork, owner: tuple[int, int] | None
) -> None:
    """Put all sources at the destination, by COPY's rules: into it when it is a directory, else as it."""
    into = work.dest.endswith("/") or len(found) + len(work.files) > 1 or placer.is_directory(work.dest)
    for picked in found:
        archive = work.unpack and picked.nodes[0].is_file
        if archive and unpack_archive(top, picked, root, work.dest, placer, owner):
            continue
        if picked.is_directory:
            placer.put_directory(top, picked, work.dest)
        else:
            placer.put_file(top, picked, work.dest, into=into)
    for name, text in work.files:
        placer.put_text(name, text.encode("utf-8", "surrogateescape"), work.dest, into=into)
