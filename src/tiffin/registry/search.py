"""Finding repositories: Docker Hub's `/v1/search`, which a few other registries have, else a registry's own list."""

from __future__ import annotations

from tiffin.errors import Corrupt, InvalidArgument, NotFound, Unsupported
from tiffin.oci.descriptor import decode_json
from tiffin.oci.reference import shown
from tiffin.registry import scopes
from tiffin.registry.endpoints import HUB, endpoints_of
from tiffin.registry.problems import Asking, refusal
from tiffin.registry.route import Route
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tiffin.config import RegistrySettings
    from tiffin.registry.auth import Session
    from tiffin.registry.endpoints import Endpoint

LIMIT_MAX = 100
_TERM_MAX = 255
_ANSWER_MAX = 4 << 20
_SEARCH_HOST = "https://index.docker.io"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class SearchResult(NamedTuple):
    """A repository that was found; texts are as the registry has them, to be escaped for a terminal."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


def search(
    registry: str,
    term: str,
    limit: int,
    filters: Mapping[str, Sequence[str]],
    session_of: Callable[[Endpoint], Session],
    settings: RegistrySettings,
    catalog: Callable[[], Iterable[str]],
) -> list[SearchResult]:
    """See `Registry.search`."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {LIMIT_MAX}]")
    if not term or len(term) > _TERM_MAX:
        raise InvalidArgument("a search term has 1 to 255 characters")
    wanted = _wanted(filters)
    endpoints = endpoints_of(registry, settings, push=True)
    if registry == HUB:
        endpoints = tuple(endpoint._replace(url=_SEARCH_HOST) for endpoint in endpoints)
    route = Route(tuple(session_of(endpoint) for endpoint in endpoints))
    try:
        found = route.first(lambda session: _ask(session, registry, term, limit))
    except (NotFound, Unsupported, Corrupt):
        if registry == HUB:
            raise
        found = [SearchResult(name) for name in catalog() if term.lower() in name.lower()]
    return [result for result in found if wanted(result)][:limit]


def _ask(session: Session, registry: str, term: str, limit: int) -> list[SearchResult]:
    from urllib.parse import urlencode

    target = f"/v1/search?{urlencode({'q': term, 'n': limit})}"
    with session.request("GET", target, scopes.NONE, headers={"Accept": "application/json"}) as response:
        if response.status in (400, 403, 404, 405, 410) and registry != HUB:
            raise NotFound(f"{session.home} has no search")
        if response.status != 200:
            raise refusal(response, Asking(registry), session.transport)
        what = f"the answer of {session.home} to a search"
        document = decode_json(response.document(_ANSWER_MAX, what), what, _ANSWER_MAX)
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise Corrupt(f"{what} holds no results")
    return [_result(item) for item in results if isinstance(item, dict)]


def _result(item: dict[str, Any]) -> SearchResult:
    stars = item.get("star_count")
    return SearchResult(
        str(item.get("name") or "")[:_TERM_MAX],
        str(item.get("description") or "")[:4096],
        stars if type(stars) is int else 0,
        item.get("is_official") is True,
        item.get("is_automated") is True,
    )


def _wanted(filters: Mapping[str, Sequence[str]]) -> Callable[[SearchResult], bool]:
    """Whether a result passes all filters, as Docker's `search --filter` has them."""
    least, official, automated = 0, set[bool](), set[bool]()
    for name, values in filters.items():
        for value in values:
            if name == "stars" and value.isascii() and value.isdigit():
                least = max(least, int(value[:9]))
            elif name in ("is-official", "is-automated") and value.lower() in _BOOLEANS:
                (official if name == "is-official" else automated).add(_BOOLEANS[value.lower()])
            else:
                raise InvalidArgument(f"invalid filter '{shown(name)}={shown(value)}'")

    def passes(result: SearchResult) -> bool:
        return (
            result.stars >= least
            and (not official or official == {result.official})
            and (not automated or automated == {result.automated})
        )

    return passes
