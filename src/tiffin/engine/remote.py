"""A registry client for one use case: with the settings of this machine and who its user is."""

from __future__ import annotations

from tiffin.config import RegistrySettings, load_settings
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tiffin.registry.client import Registry, Repository


_trace: Callable[[str], None] | None = None


def trace_to(tell: Callable[[str], None] | None) -> None:
    """Have every client that this process makes from now on tell of each request and answer, a line at a time and
    without secrets: what `--debug` shows."""
    global _trace
    _trace = tell


def connect(settings: RegistrySettings | None = None) -> Registry:
    """A client, to be used as a context manager. It asks nobody anything yet."""
    from tiffin.registry.client import Registry
    from tiffin.registry.credentials import Credentials

    return Registry(settings or load_settings().registries, Credentials(), trace=_trace)


def trusting(registry: str) -> RegistrySettings:
    """The settings, with one registry that may be spoken to over http or with unverified TLS (`--insecure`)."""
    settings = load_settings().registries
    return settings._replace(insecure=(*settings.insecure, registry))


class Later:
    """A client that is made when it is first asked for something. A context manager."""

    def __init__(self) -> None:
        self._registry: Registry | None = None

    def repository(self, name: str) -> Repository:
        """As `Registry.repository`."""
        if self._registry is None:
            self._registry = connect().__enter__()
        return self._registry.repository(name)

    def __enter__(self) -> Later:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._registry is not None:
            self._registry.__exit__(kind, error, trace)
