"""The Executor over the engine's own stores: what the solver asks, and which worker does a step."""

from __future__ import annotations

from collections.abc import Callable

from tiffin.build.cache import Layer
from tiffin.build.contexts.inputs import BuildInputs, Lent
from tiffin.build.copying.sources import Picked
from tiffin.build.epoch import NO_EPOCH
from tiffin.build.planning.graph import (
    CopyWork,
    DirectoryWork,
    FetchWork,
    MountWork,
    Outcome,
    RunWork,
    SquashWork,
    Step,
)
from tiffin.build.workers import Channel, call
from tiffin.images import Images
from tiffin.state import Layout
from tiffin.typed import TYPE_CHECKING, Any

# How steps are done is imported when the first one is: finding them all in the cache needs none of it.
if TYPE_CHECKING:
    from tiffin.build.solving.steps import Runner

Layers = tuple[Layer, ...]


class StepExecutor:
    """See `solver.Executor`. `run` is what does a RUN in its worker, given the stack, and tells its exit code.
    `downloads` is the directory where what is fetched waits for the steps that take it."""

    def __init__(
        self,
        layout: Layout,
        images: Images,
        inputs: BuildInputs,
        run: Runner,
        lent: Lent,
        downloads: Callable[[], str],
        epoch: int = NO_EPOCH,
    ) -> None:
        self._layout = layout
        self._images = images
        self._inputs = inputs
        self._run = run
        self._lent = lent
        self._downloads = downloads
        self._epoch = epoch

    def available(self, layer: Layer) -> bool:
        return self._images.has_layer(layer.diff_id, layer.blob, layer.blob_size)

    def context_digest(self, context: str, picked: Picked) -> str:
        return self._inputs.digest(context, picked)

    def stage_digest(self, layers: Layers, work: CopyWork | MountWork) -> list[Any]:
        from tiffin.build.solving import steps

        mount = self._images.snapshots.root_mount([layer.diff_id for layer in layers], readonly=True)
        return list(call(lambda _: steps.look(mount, work))["found"])

    def clean_up(self) -> None:
        from tiffin.build.sweep import sweep

        sweep(self._images.store)

    def learned(self, context: str) -> None:
        self._inputs.context(context).reload_digests()

    def task(
        self, step: Step, below: Layers, sources: tuple[Outcome, ...], *, digest: bool
    ) -> Callable[[Channel], dict[str, Any]]:
        from tiffin.build.solving import steps

        layout, work, lent, epoch = self._layout, step.work, self._lent, self._epoch
        if isinstance(work, FetchWork):
            from tiffin.build.contexts.fetch import fetch

            directory = self._downloads()
            return lambda channel: fetch(layout, work, directory, lent, channel)
        if isinstance(work, DirectoryWork):
            return lambda _: steps.make_directory(layout, work, below, epoch)
        if isinstance(work, SquashWork):
            from tiffin.build.solving.squash import squash

            return lambda _: squash(layout, below, sources[0].layers, epoch)
        if isinstance(work, CopyWork):
            context = None if work.sources else self._inputs.context(work.context)
            return lambda _: steps.copy(
                layout, work, below, sources, context, lent, digest=digest, epoch=epoch
            )
        assert isinstance(work, RunWork)
        shown = {number: outcome.layers for number, outcome in zip(step.sources, sources, strict=True)}
        room = steps.Around(shown, self._inputs, lent, epoch)
        return lambda channel: steps.execute(layout, work, below, channel, self._run, room)
