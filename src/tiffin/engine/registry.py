"""The registry verbs."""

from __future__ import annotations

from collections.abc import Callable

from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace


class RegistryService:
    """`Engine.registry`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def serve(
        self,
        address: str = "127.0.0.1:5000",
        *,
        read_only: bool = False,
        blob_max: int = 64 << 30,
        ready: Callable[[str], None] | None = None,
        **options: Any,
    ) -> None:
        """Offer the images of this engine over the OCI distribution API, until SIGTERM or SIGINT. `blob_max` bounds one
        pushed blob, in bytes; `ready` is called with the URL; `options` are the further fields of
        tiffin.registry.server.serve's Serving. Raises InvalidArgument, Conflict."""
        from tiffin.engine.registry_shelf import StoreShelf
        from tiffin.registry.server.desk import Limits
        from tiffin.registry.server.serve import Serving, serve

        serving = Serving(address, limits=Limits(read_only, blob_max), **options)
        serve(StoreShelf(self._workspace), serving, ready)
