"""`Engine.system`: the engine as a whole."""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.images.finding import Finding, Progress


class SystemService:
    """Checking, measuring, clearing and describing one engine."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def fsck(self, repair: bool = False, report: Progress | None = None) -> list[Finding]:
        """Verify every blob, layer and row; with `repair`, mend what can be. `report` is called from several threads
        with the bytes verified and those to verify. Nothing is changed without `repair`."""
        from tiffin.engine.fsck import fsck

        return fsck(self._workspace, repair=repair, progress=report)
