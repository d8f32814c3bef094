"""Building images: a Dockerfile and a directory to a graph of steps, steps to layers, layers to an image.

    text ─ dockerfile ─► stages ─ plan ─► graph ─ solver ─► layers ─ export ─► image
                                            │        │
                                        keys, cache  executor (copy, run): one process a step

`Builder.build(BuildRequest(...))` is the whole interface; `tiffin.build.progress` is what it tells on the
way.
"""

from tiffin.build.builder import Builder, BuildRequest, BuildResult
from tiffin.build.solver import StepError

__all__ = ["BuildRequest", "BuildResult", "Builder", "StepError"]
