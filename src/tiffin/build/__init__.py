"""Building images: a Dockerfile and a directory to a graph of steps, steps to layers, layers to an image.

    text ─ dockerfile ─► stages ─ plan ─► graph ─ solver ─► layers ─ export ─► image
                                            │        │
                                        keys, cache  executor (copy, run): one process a step

`Builder.build(BuildRequest(...))` is the interface, and `checks.check` the lint; `tiffin.build.progress` is what a
build tells on the way.
"""

from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.builder import Builder, BuildRequest, BuildResult
    from tiffin.build.solver import StepError

__all__ = ["BuildRequest", "BuildResult", "Builder", "StepError"]


def __getattr__(name: str) -> Any:
    """The names above, imported when first asked for: `rmi` wants only `tiffin.build.sweep`."""
    if name in __all__:
        from tiffin.build import builder, solver

        return getattr(solver if name == "StepError" else builder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
