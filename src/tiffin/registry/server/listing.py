"""Lists: repositories, tags, referrers (distribution-spec, "Content Discovery", "Listing Referrers")."""

import json
import re
from urllib.parse import quote, urlencode

from aiohttp import web

from tiffin.oci.descriptor import INDEX
from tiffin.registry.server.desk import Call, checked_digest, refusing
from tiffin.registry.server.errors import Refusal
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_MAX = 1000
_REFERRERS_BYTES = 3 << 20  # of one answer, which clients bound at 4 MiB


async def base(_: Call) -> web.StreamResponse:
    """GET /v2/: this is a registry, and it knows who asks."""
    return _json({})


async def catalog(call: Call) -> web.StreamResponse:
    """GET /v2/_catalog (Docker's)."""
    names, headers = _page(call.request, await call.desk.run(call.desk.shelf.repositories))
    return _json({"repositories": names}, headers)


async def tags(call: Call) -> web.StreamResponse:
    """GET /v2/<name>/tags/list"""
    with refusing("NAME_UNKNOWN"):
        found, headers = _page(call.request, await call.desk.run(call.desk.shelf.tags, call.name))
    return _json({"name": call.name, "tags": found}, headers)


async def referrers(call: Call) -> web.StreamResponse:
    """GET /v2/<name>/referrers/<digest>: an index, empty when nothing refers to it."""
    desk, request, name, word = call
    with refusing("NAME_UNKNOWN"):
        found = list(await desk.run(desk.shelf.referrers, name, checked_digest(word)))
    headers = {"Content-Type": INDEX}
    wanted = request.query.get("artifactType")
    if wanted:
        found = [entry for entry in found if entry.get("artifactType") == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
    last = request.query.get("last", "")
    shown: list[dict[str, Any]] = []
    size = 0
    for entry in found:
        if entry["digest"] <= last:
            continue
        size += len(json.dumps(entry))
        if shown and (size > _REFERRERS_BYTES or len(shown) >= PAGE_MAX):
            query = {"last": shown[-1]["digest"], **({"artifactType": wanted} if wanted else {})}
            headers["Link"] = _next(request, query)
            break
        shown.append(entry)
    return _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": shown}, headers)


def _page(request: web.BaseRequest, items: "Sequence[str]") -> tuple[list[str], dict[str, str]]:
    """The part that `n` and `last` ask for, and the header that leads to the next."""
    text = request.query.get("n", str(PAGE_MAX))
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n must be a whole number")
    count, last = min(int(text), PAGE_MAX), request.query.get("last", "")
    rest = [item for item in items if item > last]
    shown = rest[:count]
    if not shown or len(shown) == len(rest):
        return shown, {}
    return shown, {"Link": _next(request, {"n": str(count), "last": shown[-1]})}


def _next(request: web.BaseRequest, query: dict[str, str]) -> str:
    return f'<{quote(request.path, safe="/:._-")}?{urlencode(query)}>; rel="next"'


def _json(document: Any, headers: dict[str, str] | None = None) -> web.Response:
    found = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(headers=found, body=json.dumps(document).encode())
