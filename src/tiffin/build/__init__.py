"""Building images: a Dockerfile and a directory to a graph of steps, steps to layers, layers to an image.

    text ─ dockerfile ─► stages ─ plan ─► graph ─ solver ─► layers ─ export ─► image
                                            │        │
                                        keys, cache  executor (copy, run): one process a step

    contexts    what goes in: directories, archives, URLs, git, images, secrets and agents
    planning    stages to a graph of steps with their keys; touches no disk
    copying     COPY and ADD: trees, wildcards, owners, archives, all by descriptor
    running     RUN: its container, its mounts, its caches
    solving     the graph executed: cache or worker, then the image
    results     outputs, caches for other engines, the history of builds

`Builder.build(BuildRequest(...))` is the interface, and `checks.check` the lint; `tiffin.build.progress` is what a
build tells on the way.
"""

from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.builder import Builder
    from tiffin.build.request import BuildRequest, BuildResult
    from tiffin.build.solving.solver import StepError

__all__ = ["BuildRequest", "BuildResult", "Builder", "StepError"]


def __getattr__(name: str) -> Any:
    """The names above, imported when first asked for: `rmi` wants only `tiffin.build.sweep`."""
    if name in __all__:
        from tiffin.build import builder, request
        from tiffin.build.solving import solver

        room = {"Builder": builder, "StepError": solver}.get(name, request)
        return getattr(room, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
