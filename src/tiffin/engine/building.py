"""Building images, as the build room does it, with the engine's own way to run a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiffin.build.builder import Builder, BuildRequest, BuildResult
from tiffin.build.run import Runner
from tiffin.engine.images import open_images

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace


class BuildService:
    """`Engine.builder`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def build(self, context: str, **options: Any) -> BuildResult:
        """Build the Dockerfile of directory `context`; `options` are the further fields of BuildRequest."""
        with self._workspace.store() as store:
            images = open_images(store)
            return Builder(store, images, Runner(store.layout)).build(BuildRequest(context, **options))
