"""Lists that a registry gives page by page (distribution-spec, "Listing Tags"; RFC 8288 for Link)."""

from __future__ import annotations

from tiffin.errors import Corrupt, LimitExceeded, TransferError
from tiffin.oci.descriptor import decode_json
from tiffin.registry.challenges import parse_link
from tiffin.registry.origin import origin_of
from tiffin.registry.problems import Asking, refusal
from tiffin.registry.waiting import again
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.registry.auth import Session
    from tiffin.registry.route import Route
    from tiffin.registry.scopes import Scope

PAGE_MAX = 16 << 20  # bytes of one page
PAGES_MAX = 10_000


def pages(
    route: Route, target: str, scope: Scope, asking: Asking
) -> Iterator[tuple[Session, dict[str, Any]]]:
    """Each page's JSON object, with who gave it. The next page is where the Link header says, at the same origin.
    Raises TransferError for a page that is none or links without end, and what a refusal means."""
    session, document, following = route.first(lambda one: (one, *_page_again(one, target, scope, asking)))
    seen = {target}
    for _ in range(PAGES_MAX):
        yield session, document
        if not following:
            return
        if following in seen:
            break
        seen.add(following)
        document, following = _page_again(session, following, scope, asking)
    raise session.transport.failure(TransferError, f"{session.home}: its pages do not end")


def _page_again(session: Session, target: str, scope: Scope, asking: Asking) -> tuple[dict[str, Any], str]:
    return again(lambda: _page(session, target, scope, asking), session.transport.waiting)


def _page(session: Session, target: str, scope: Scope, asking: Asking) -> tuple[dict[str, Any], str]:
    with session.request("GET", target, scope, headers={"Accept": "application/json"}) as response:
        if response.status != 200:
            raise refusal(response, asking, session.transport)
        what = f"the list from {session.home}"
        following, url = parse_link(response.header("link"), "next"), response.url
        try:
            document = decode_json(response.document(PAGE_MAX, what), what, PAGE_MAX)
        except (Corrupt, LimitExceeded) as error:
            raise session.transport.failure(TransferError, str(error)) from None
    if not isinstance(document, dict):
        raise session.transport.failure(TransferError, f"{what} is not a JSON object")
    if following:
        following = session.transport.follow(session.endpoint, url, following)
        if origin_of(following) != session.home:
            raise session.transport.failure(
                TransferError, f"{session.home} continues its list at {origin_of(following)}: refused"
            )
    return document, following
