"""One request: from where, by whom, for what; then its endpoint, and every error in the specification's form."""

import re
import sys
from urllib.parse import unquote

from aiohttp import web

from tiffin.errors import InvalidArgument, TiffinError
from tiffin.oci.reference import parse_reference
from tiffin.registry.server import blobs, listing, manifests
from tiffin.registry.server.access import Access
from tiffin.registry.server.desk import HEADERS, Call, Desk
from tiffin.registry.server.errors import Refusal, refusal_of
from tiffin.registry.server.uploads import Uploads
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[Call], Awaitable[web.StreamResponse]]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_NAME_MAX = 255
_SAFE = ("GET", "HEAD")


class Route(NamedTuple):
    """A path, matched whole after decoding (its parts are checked afterwards), and what each method does there."""

    path: "re.Pattern[str]"
    methods: "dict[str, Handler]"


class Application:
    """Answers requests."""

    def __init__(self, desk: Desk, access: Access | None) -> None:
        self._desk = desk
        self._access = access
        self.uploads = Uploads(desk)
        self._routes = _routes(self.uploads)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._desk.serving(request):
            try:
                response = await self._answer(request)
            except Refusal as refusal:
                if refusal.status >= 500 and isinstance(refusal.__cause__, Exception):
                    tell(refusal.__cause__)
                response = refusal.response()
            except TiffinError as error:
                tell(error)
                response = refusal_of(error).response()
            except ConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - the last resort: one request fails, the server goes on
                tell(error)
                response = Refusal(500, "UNKNOWN", "the registry failed; its operator sees why").response()
        response.headers.update(HEADERS)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        writing = request.method not in _SAFE
        if writing and ("Origin" in request.headers or _from_elsewhere(request)):
            raise Refusal(403, "DENIED", "web pages may not change this registry")
        if self._access is not None:
            await self._access.check(request.headers.get("Authorization", ""))
        handler, call = self._find(request)
        if writing and self._desk.limits.read_only:
            raise Refusal(405, "UNSUPPORTED", "this registry is read-only")
        return await handler(call)

    def _find(self, request: web.BaseRequest) -> "tuple[Handler, Call]":
        path = unquote(request.raw_path.partition("?")[0], errors="replace")
        for route in self._routes:
            match = route.path.fullmatch(path)
            if match is None:
                continue
            words = match.groupdict()
            name = words.get("name")
            if name is not None:
                _check_name(name)
            handler = route.methods.get(request.method)
            if handler is None:
                allowed = {"Allow": ", ".join(route.methods)}
                raise Refusal(405, "UNSUPPORTED", "no such method here", allowed)
            return handler, Call(self._desk, request, **words)
        raise Refusal(404, "NAME_UNKNOWN", "no such endpoint")


def _check_name(name: str) -> None:
    """Raises Refusal unless it is a repository's name, of the API and as a reference."""
    if len(name) <= _NAME_MAX and _NAME.fullmatch(name) is not None:
        try:
            parse_reference(f"{name}:latest")
            return
        except InvalidArgument:
            pass
    raise Refusal(400, "NAME_INVALID", "a repository name has lower-case letters, digits and / . _ -")


def _routes(uploads: Uploads) -> tuple[Route, ...]:
    def route(path: str, **methods: "Handler") -> Route:
        return Route(re.compile(path, re.DOTALL), methods)

    name = "/v2/(?P<name>.+)"
    return (
        route("/v2/?", GET=listing.base, HEAD=listing.base),
        route("/v2/_catalog", GET=listing.catalog),
        route(f"{name}/tags/list", GET=listing.tags),
        route(f"{name}/referrers/(?P<word>[^/]+)", GET=listing.referrers),
        route(
            f"{name}/manifests/(?P<word>[^/]+)",
            GET=manifests.get,
            HEAD=manifests.head,
            PUT=manifests.put,
            DELETE=manifests.delete,
        ),
        route(f"{name}/blobs/uploads/?", POST=uploads.post),
        route(
            f"{name}/blobs/uploads/(?P<word>[^/]+)",
            GET=uploads.status,
            PATCH=uploads.patch,
            PUT=uploads.put,
            DELETE=uploads.cancel,
        ),
        route(f"{name}/blobs/(?P<word>[^/]+)", GET=blobs.get, HEAD=blobs.get, DELETE=blobs.delete),
    )


def _from_elsewhere(request: web.BaseRequest) -> bool:
    """Whether a browser says that another site's page made this request."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def tell(error: Exception) -> None:
    """What went wrong with this machine, for the operator: one line, nothing in it that drives a terminal."""
    text = f"{type(error).__name__}: {error}" if not isinstance(error, TiffinError) else str(error)
    shown = "".join(c if c.isprintable() else "?" for c in text[:1000])
    print(f"tiffin: registry: {shown}", file=sys.stderr, flush=True)
