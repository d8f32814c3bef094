"""The registry verbs."""

from __future__ import annotations

from tiffin.engine.remote import connect
from tiffin.errors import InvalidArgument, Unauthorized
from tiffin.registry.credentials import Credential, Credentials, key_of
from tiffin.registry.endpoints import registry_of
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.registry.search import SearchResult


class LoggedIn(NamedTuple):
    """A login that a registry believed."""

    status: str
    """the registry's word, "Login Succeeded" """
    stored: str
    """where it is kept: a file's path, or the program of a credential helper; "" for what was kept already"""
    plain: bool
    """whether whoever can read that file can read the password"""


class RegistryService:
    """`Engine.registry`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def login(self, server: str = "", username: str = "", password: str = "") -> LoggedIn:
        """Ask the registry `server` (Docker Hub by default) whether it believes this user, and keep the password when
        it does, where `docker login` would. Without `username` what is kept already is asked about. Raises
        Unauthorized when the registry does not believe it, or nothing is kept; TransferError when it cannot be
        asked."""
        registry, credentials = registry_of(server), Credentials()
        if not username and not password:
            kept = credentials.get(registry)
            if kept is None:
                raise Unauthorized(f"no login is kept for {registry}: give a user name and a password")
            return LoggedIn(_check(registry, kept), "", False)
        if not username or not password:
            raise InvalidArgument("a login needs both a user name and a password")
        if ":" in username or not username.isprintable():  # RFC 7617, section 2
            raise InvalidArgument("a user name has no colon and no control characters")
        credential = Credential(username, password)
        status = _check(registry, credential)
        stored = credentials.store(registry, credential)
        return LoggedIn(status, stored, stored == credentials.path)

    def logged_in(self, server: str = "") -> str | None:
        """The user name that is kept for a registry, "" with a token; None when nothing is."""
        kept = Credentials().get(server)
        return None if kept is None else kept.username

    def logout(self, server: str = "") -> tuple[str, bool]:
        """Forget what is kept for a registry: its name as Docker's file has it, and whether anything was."""
        return key_of(server), Credentials().erase(server)

    def search(
        self, term: str, *, limit: int = 25, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[SearchResult]:
        """Repositories that a registry finds for `term`, `ghcr.io/term` to ask another than Docker Hub; as
        `Registry.search`."""
        registry, term = _split_term(term)
        with connect() as client:
            return client.search(registry, term, limit, filters)

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


def _check(registry: str, credential: Credential) -> str:
    with connect() as client:
        return client.check_login(registry, credential)


def _split_term(term: str) -> tuple[str, str]:
    """The registry, and what to look for there: a first part with a dot or a port is a registry, as in references."""
    if "://" in term:
        raise InvalidArgument(f"invalid search term {term[:100]!r}: leave out the scheme, as in ghcr.io/web")
    first, slash, rest = term.partition("/")
    if slash and (any(mark in first for mark in ".:") or first == "localhost"):
        return registry_of(first), rest
    return registry_of(""), term.removeprefix("library/")
