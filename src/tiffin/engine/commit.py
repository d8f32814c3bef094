"""diff, commit, export: what a container made of its image."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from tiffin.containers.states import LIVE
from tiffin.engine import recovery
from tiffin.engine.compressed import drop_unwanted
from tiffin.engine.images import open_images
from tiffin.engine.pause import held_still
from tiffin.layer.applier import Applier
from tiffin.layer.compress import check_growth
from tiffin.layer.diff import Change, changes, diff_tar, tree_tar
from tiffin.oci.image import History, extend_config, format_time, settings
from tiffin.oci.reference import parse_reference
from tiffin.snapshot.overlay import Snapshots
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tiffin.containers import Container, ContainerRecord
    from tiffin.engine.options import CommitOptions
    from tiffin.engine.workspace import Workspace
    from tiffin.images import Images, LayerBlob
    from tiffin.layer.tarwriter import Writable
    from tiffin.state import Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def diff(workspace: Workspace, reference: str) -> list[Change]:
    """See ContainerService.diff."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        with _trees(store, container) as (upper, lowers):
            return sorted(changes(upper, lowers), key=lambda change: change.path)


def commit(workspace: Workspace, reference: str, options: CommitOptions) -> str:
    """See ContainerService.commit."""
    names = [str(parse_reference(options.repository))] if options.repository else []
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        images = open_images(store)
        base = images.by_id(container.record.image)
        changed = committed_settings(settings(base.config), container.record)
        if options.changes:
            from tiffin.engine.changes import apply_changes

            changed = apply_changes(changed, options.changes)
        with store.adding():
            layer = _keep_changes(store, images, container, pause=options.pause)
            history = History(
                created=format_time(time.time_ns()),
                created_by=" ".join(container.record.argv),
                comment=options.message,
                author=options.author,
            )
            config = extend_config(base.config, history, layer.diff_id, changed)
            image = images.create(config, [*images.layers(base), layer], names).id
        drop_unwanted(images, [image])
        return image


def export(workspace: Workspace, reference: str, out: BinaryIO) -> None:
    """See ContainerService.export. The overlay is mounted for nobody else to see, by descriptor alone."""
    from tiffin.runtime.rootfs import open_overlay

    with workspace.store() as store:
        container = recovery.truth(store, reference)
        snapshots = Snapshots(store)
        upper = f"{store.layout.container(container.id)}/upper"
        lowers = container.record.layers
        mount = snapshots.root_mount(lowers, readonly=True)
        if os.path.isdir(upper):
            # A read-only stack with the upper on top needs no work directory, and may be mounted beside the
            # container's own.
            mount = mount._replace(lower=(upper, *mount.lower))
        fd = open_overlay(mount)
        try:
            tree_tar(fd, out)
        finally:
            os.close(fd)


def committed_settings(base: dict[str, Any], record: ContainerRecord) -> dict[str, Any]:
    """The new image's execution settings: the base's, with what the container was created with."""
    changed = dict(base)
    chosen: dict[str, Any] = {
        "User": record.user,
        "Env": list(record.env),
        "Entrypoint": None if record.entrypoint is None else list(record.entrypoint),
        "Cmd": None if record.cmd is None else list(record.cmd),
        "WorkingDir": "" if record.cwd == "/" else record.cwd,
        "ExposedPorts": {key: {} for key in record.exposed},
        "Volumes": {path: {} for path in record.volumes},
        "Labels": dict(record.labels),
        "StopSignal": record.stop_signal if record.stop_signal != "SIGTERM" else "",
    }
    for key, value in chosen.items():
        if value:
            changed[key] = value
        else:
            changed.pop(key, None)
    return changed


@contextmanager
def _trees(store: Store, container: Container) -> Iterator[tuple[int, list[int]]]:
    """The upper directory (empty for a container that never started) and the layers below, topmost first."""
    directory = store.layout.container(container.id)
    snapshots = Snapshots(store)
    with ExitStack() as undo:
        upper = f"{directory}/upper"
        if not os.path.isdir(upper):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            upper, _ = snapshots.prepare_writable(directory, container.record.layers)
        order = dict.fromkeys(reversed(container.record.layers))
        fds = []
        for path in [upper, *(snapshots.layer_path(diff_id) for diff_id in order)]:
            fd = os.open(path, _DIRECTORY)
            undo.callback(os.close, fd)
            fds.append(fd)
        yield fds[0], fds[1:]


def _still(store: Store, container: Container, wanted: bool) -> AbstractContextManager[None]:
    """Every process of a running container stopped meanwhile."""
    return held_still(store, container) if wanted and container.status in LIVE else nullcontext()


def _keep_changes(store: Store, images: Images, container: Container, *, pause: bool) -> LayerBlob:
    """The upper as a layer, blob and tree. Its files are read once: what becomes the tree is the very tar that is
    hashed, so that what is stored is what is named, also when somebody writes to the upper meanwhile."""
    snapshots = Snapshots(store)
    with snapshots.stage_layer() as staged, _trees(store, container) as (upper, lowers):
        made: list[Applier] = []

        def produce(out: Writable) -> None:
            # Held still only while it is read: the disk is waited for afterwards.
            with Applier(staged.fd, out) as applier, _still(store, container, pause):
                diff_tar(upper, applier, lowers)
            made.append(applier)

        layer = images.write_layer(produce)
        check_growth(made[0].written, layer.blob_size)
        if not snapshots.has_layer(layer.diff_id):
            staged.commit(layer.diff_id, made[0].applied.size)
    return layer
