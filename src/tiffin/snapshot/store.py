"""What a store of unpacked layers promises.

    with snapshots.stage_layer() as staged:              # an empty directory, gone again unless committed
        apply_layer(tar, staged.fd, limits)
        staged.commit(diff_id, size)                     # synced, renamed, recorded: whole or not at all

    upper, work = snapshots.prepare_writable(directory, diff_ids)
    mount = snapshots.root_mount(diff_ids, upper, work)  # a plain value; the runtime performs it
    snapshots.adopt_upper(upper, diff_id)                # what was written becomes a layer (build, commit)

DiffIDs come bottom first, as in an image config. A layer that no row of the store of record uses may be
collected unless its maker holds `Store.adding()` until it is named. Not to be used from a thread other than
the one that opened the store, except for a staged layer's `fd`.
"""

from tiffin.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from tiffin.oci.mount import Mount


class StagedLayer(Protocol):
    """A layer being unpacked. A context manager; leaving it without commit removes what was
    unpacked; leaving it again does nothing."""

    fd: int

    def commit(self, diff_id: str, size: int) -> None:
        """Make it the layer `diff_id`, whose files hold `size` bytes. Where that layer exists already, the
        first is kept. Raises NoSpace, EngineError."""

    def replace(self, diff_id: str, size: int, check: "Callable[[], None]") -> None:
        """As `commit`, but in the place of a tree that is there already, which is damaged: exchanged in one step,
        within a transaction whose first act is `check`; it may raise to leave all as it was."""

    def __enter__(self) -> "StagedLayer": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None: ...


class SnapshotStore(Protocol):
    """Layers by DiffID."""

    def stage_layer(self) -> StagedLayer:
        """A new empty directory to unpack into."""

    def has_layer(self, diff_id: str) -> bool:
        """Whether the layer is here, whole."""

    def layer_path(self, diff_id: str) -> str:
        """Its tree; raises Corrupt when it is not here."""

    def root_mount(
        self,
        diff_ids: "Sequence[str]",
        upper: str = "",
        work: str = "",
        readonly: bool = False,
        mount_points: bool = False,
    ) -> "Mount":
        """How to mount the stack. `mount_points` puts a layer with what a runtime mounts on (/proc, /etc/hosts)
        below all others, so that the upper stays the container's own. Raises Corrupt (a layer is missing),
        LimitExceeded (too many)."""

    def prepare_writable(self, directory: str, diff_ids: "Sequence[str]" = ()) -> tuple[str, str]:
        """Make `upper` and `work` in an existing directory of the engine; their paths. The upper's own owner,
        mode and times are those of the top layer's root. Idempotent."""

    def adopt_upper(self, upper: str, diff_id: str, size: int = -1) -> None:
        """Make the tree at `upper`, which nothing has mounted any more, the layer `diff_id`; the caller has
        computed that digest from this tree. `size` is counted when negative."""

    def diff_ids(self) -> "Iterator[str]":
        """Every layer whose tree is here, in no order."""

    def discard_layer(self, diff_id: str) -> str:
        """Take a layer out of the store (its row, then its name) and return where its tree now waits in
        staging to be removed, "" if there was none. Idempotent."""
