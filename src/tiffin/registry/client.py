"""The client of registries: one `Registry` for as long as there is work, a `Repository` for each name.

    with Registry(settings.registries, Credentials()) as registry:
        alpine = registry.repository("docker.io/library/alpine")
        found = alpine.manifest("latest")
        with alpine.open_blob(layer) as blob:
            while data := blob.read():
                ...

Connections, tokens and what was learnt about addresses are shared by all repositories and threads.
"""

from __future__ import annotations

import threading

from tiffin.errors import InvalidArgument, Unauthorized
from tiffin.oci.reference import parse_reference, shown
from tiffin.registry import scopes
from tiffin.registry.auth import Authorizer, Session
from tiffin.registry.endpoints import endpoints_of, registry_of
from tiffin.registry.pages import pages
from tiffin.registry.problems import Asking, refusal
from tiffin.registry.repository import FetchedDocument, Repository
from tiffin.registry.route import Route
from tiffin.registry.search import SearchResult, search
from tiffin.registry.transport import Transport
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from tiffin.config import RegistrySettings
    from tiffin.registry.credentials import Credential, Credentials
    from tiffin.registry.endpoints import Endpoint

__all__ = ["FetchedDocument", "Registry", "Repository", "SearchResult"]


class Registry:
    """All registries, for one user. A context manager; usable from many threads until closed."""

    def __init__(
        self,
        settings: RegistrySettings,
        credentials: Credentials,
        *,
        trace: Callable[[str], None] | None = None,
        transport: Transport | None = None,
    ) -> None:
        """`trace` gets a line for each request and answer, without secrets."""
        self._settings = settings
        self._credentials = credentials
        self._transport = transport or Transport(settings, trace=trace)
        self._lock = threading.Lock()
        self._sessions: dict[Endpoint, Session] = {}
        self._routes: dict[tuple[str, bool], Route] = {}

    def repository(self, name: str) -> Repository:
        """The repository `name`, as `Reference.name` has it ("docker.io/library/alpine"). Asks nobody. Raises
        InvalidArgument."""
        reference = parse_reference(name)
        if reference.name != name and reference.familiar_name() != name:
            raise InvalidArgument(f"{shown(name)!r} is not the name of a repository")
        registry = reference.registry
        return Repository(reference, self._route(registry), self._route(registry, push=True), self._transport)

    def check_login(self, registry: str, credential: Credential) -> str:
        """Docker's "Login Succeeded" when `registry` believes `credential`, which is not kept. Raises Unauthorized
        when it does not, TransferError when it cannot be asked."""
        registry = registry_of(registry)

        def ask(endpoint: Endpoint) -> Session:
            return Session(
                endpoint, self._transport, Authorizer(endpoint, lambda: credential, self._transport)
            )

        def check(session: Session) -> str:
            with session.request("GET", "/v2/", scopes.NONE) as response:
                if response.status == 200:
                    return "Login Succeeded"
                if response.status == 401:
                    refused = refusal(response, Asking(registry), self._transport)
                    raise Unauthorized(
                        str(refused).partition(";")[0] + ": incorrect username or password for " + registry
                    )
                raise refusal(response, Asking(registry), self._transport)

        endpoints = endpoints_of(registry, self._settings, push=True)
        return Route(tuple(ask(endpoint) for endpoint in endpoints)).first(check)

    def search(
        self,
        registry: str,
        term: str,
        limit: int = 25,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[SearchResult]:
        """Repositories of `registry` for `term`, best first, at most `limit` (1 to 100). `filters`: "stars" (at least),
        "is-official", "is-automated" ("true", "false"). A registry without a search of its own is asked for its
        list. Raises InvalidArgument, and as `Repository.resolve`."""
        registry = registry_of(registry)
        return search(
            registry,
            term,
            limit,
            filters or {},
            self._session,
            self._settings,
            lambda: self.catalog(registry),
        )

    def catalog(self, registry: str) -> Iterator[str]:
        """The repositories of `registry`, page by page, without its name (distribution's `_catalog`, which many
        registries do not have). Raises as `Repository.resolve`."""
        registry = registry_of(registry)
        route = self._route(registry, push=True)
        for _, document in pages(route, "/v2/_catalog?n=1000", scopes.CATALOG, Asking(registry)):
            listed = document.get("repositories") or []
            yield from (name for name in listed if isinstance(name, str) and name.isprintable())

    def close(self) -> None:
        """End waits and close connections. Idempotent."""
        self._transport.close()

    def _route(self, registry: str, *, push: bool = False) -> Route:
        with self._lock:
            found = self._routes.get((registry, push))
        if found is None:
            endpoints = endpoints_of(registry, self._settings, push=push)  # may look up addresses
            found = Route(tuple(self._session(endpoint) for endpoint in endpoints))
            with self._lock:
                found = self._routes.setdefault((registry, push), found)
        return found

    def _session(self, endpoint: Endpoint) -> Session:
        def credential() -> Credential | None:
            return self._credentials.get(endpoint.credential_name)

        with self._lock:
            found = self._sessions.get(endpoint)
            if found is None:
                authorizer = Authorizer(endpoint, credential, self._transport)
                found = self._sessions[endpoint] = Session(endpoint, self._transport, authorizer)
            return found

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
