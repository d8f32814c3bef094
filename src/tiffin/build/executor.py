"""The Executor over the engine's own stores: what the solver asks, and which worker does a step."""

from __future__ import annotations

from collections.abc import Callable

from tiffin.build.cache import Layer
from tiffin.build.context import Context
from tiffin.build.plan import CopyWork, DirectoryWork, RunWork, Step
from tiffin.build.sources import Picked
from tiffin.build.workers import Channel, call
from tiffin.images import Images
from tiffin.state import Layout
from tiffin.typed import TYPE_CHECKING, Any

# How steps are done is imported when the first one is: finding them all in the cache needs none of it.
if TYPE_CHECKING:
    from tiffin.build.steps import Runner

Layers = tuple[Layer, ...]


class StepExecutor:
    """See `solver.Executor`. `run` is what does a RUN in its worker, given the stack, and tells its exit code."""

    def __init__(self, layout: Layout, images: Images, context: Context, run: Runner) -> None:
        self._layout = layout
        self._images = images
        self._context = context
        self._run = run

    def available(self, layer: Layer) -> bool:
        return self._images.has_layer(layer.diff_id, layer.blob, layer.blob_size)

    def context_digest(self, picked: Picked) -> str:
        return self._context.digest(picked)

    def stage_digest(self, layers: Layers, sources: tuple[str, ...]) -> list[Any]:
        from tiffin.build import steps

        mount = self._images.snapshots.root_mount([layer.diff_id for layer in layers], readonly=True)
        return list(call(lambda _: steps.look(mount, sources))["found"])

    def clean_up(self) -> None:
        from tiffin.build.sweep import sweep

        sweep(self._images.store)

    def learned(self) -> None:
        self._context.reload_digests()

    def task(
        self, step: Step, below: Layers, source: Layers, *, digest: bool
    ) -> Callable[[Channel], dict[str, Any]]:
        from tiffin.build import steps

        layout, work = self._layout, step.work
        if isinstance(work, DirectoryWork):
            return lambda _: steps.make_directory(layout, work, below)
        if isinstance(work, CopyWork):
            context = self._context if step.source < 0 else None
            return lambda _: steps.copy(layout, work, below, source, context, digest=digest)
        assert isinstance(work, RunWork)
        return lambda channel: steps.execute(layout, work, below, channel, self._run)
