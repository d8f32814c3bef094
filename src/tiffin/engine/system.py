"""`Engine.system`: the engine as a whole."""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.engine.boot import Booted
    from tiffin.engine.prune import Pruned, PrunePlan, PruneRequest
    from tiffin.engine.usage import Usage
    from tiffin.engine.workspace import Workspace
    from tiffin.images.finding import Finding, Progress


class SystemService:
    """Checking, measuring, clearing and describing one engine."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def fsck(self, repair: bool = False, report: Progress | None = None) -> list[Finding]:
        """Verify every blob, layer and row; with `repair`, mend what can be. `report` is called from several threads
        with the bytes verified and those to verify. Nothing is changed without `repair`. Raises Conflict when a repair
        finds a build, pull or load at work."""
        from tiffin.engine.fsck import fsck

        return fsck(self._workspace, repair=repair, progress=report)

    def usage(self) -> Usage:
        """What everything takes up on disk, in allocated bytes; the sum agrees with `du` of the root."""
        from tiffin.engine.usage import usage

        return usage(self._workspace)

    def plan_prune(self, request: PruneRequest) -> PrunePlan:
        """What `prune` would remove as things stand. Changes nothing. Raises InvalidArgument for a filter."""
        from tiffin.engine.prune import plan

        return plan(self._workspace, request)

    def prune(self, plan: PrunePlan) -> Pruned:
        """Remove what a plan named, but for what has come into use since; then collect what nothing names."""
        from tiffin.engine.prune import carry_out

        return carry_out(self._workspace, plan)

    def start_containers(self) -> Booted:
        """Start those that ran before and whose restart policy says that they start with the machine, in the order of
        their creation. One that does not start holds up no other."""
        from tiffin.engine.boot import start_containers

        return start_containers(self._workspace)

    def stop_containers(self) -> list[tuple[str, str]]:
        """Stop all at once, each by its own stop signal and with its own time to end; to their restart policies nobody
        stopped them. The names of those that did not end, and why."""
        from tiffin.engine.stop import stop_all

        return stop_all(self._workspace)

    def info(self) -> dict[str, Any]:
        """Facts about engine and machine, by the names of Docker's API (GET /info)."""
        from tiffin.engine.describe import info

        return info(self._workspace)

    def version(self) -> dict[str, Any]:
        """What this is and what it runs on, by the names of Docker's API (GET /version)."""
        from tiffin.engine.describe import version

        return version()
