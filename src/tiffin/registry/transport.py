"""One request to a registry and its response: retries, redirects, bounds.

    transport = Transport(settings)
    with transport.request(endpoint, "GET", "/v2/") as response:
        response.status, response.header("www-authenticate"), response.document(1 << 20, "the answer")

Who asks is the caller's affair (`auth`): an `authorization` given here goes to the origin of the first URL and is
dropped at any redirect to another scheme, host or port, for good (T14). Every wait, body and number of steps has a
bound (T16). No request is ever repeated over http that was asked over https (T17). Every text that leaves goes through
`Transport.redact` (T18); causes of errors are not chained, because their texts have not.
"""

from __future__ import annotations

import os
import threading

from tiffin._version import __version__
from tiffin.errors import TiffinError, TransferError
from tiffin.registry.origin import (
    address_kind,
    host_kinds,
    kind_name,
    may_lead,
    origin_of,
    resolve_location,
)
from tiffin.registry.proxies import proxy_for
from tiffin.registry.redact import Redactor, redact
from tiffin.registry.response import Response, Unreachable, failure_of
from tiffin.registry.waiting import Waiting, is_transient, pause_before
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tiffin.config import RegistrySettings
    from tiffin.registry.endpoints import Endpoint
    from tiffin.registry.origin import Origin
    from tiffin.registry.pools import Pools, Trust

    Body = bytes | Callable[[], Iterable[bytes]] | None

REDIRECTS_MAX = 8
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"tiffin/{__version__}"

__all__ = ["REDIRECTS_MAX", "USER_AGENT", "Response", "Transport", "redact"]


class _Request(NamedTuple):
    """One request as it stands at one hop."""

    method: str
    url: str
    headers: dict[str, str]
    body: Body
    authorization: str


class Transport:
    """Requests to registries. Safe to use from many threads; `close` ends waits and idle connections."""

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        trace: Callable[[str], None] | None = None,
        environment: Mapping[str, str] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self.settings = settings
        self.redact = Redactor()
        self.waiting = waiting or Waiting()
        self._trace = trace
        variables = os.environ if environment is None else environment
        # a closure, for the variables may hold a password and an attribute is shown by whoever prints us
        self._proxy_of: Callable[[Origin], str] = lambda origin: proxy_for(origin, variables)
        self._lock = threading.Lock()
        self._pools: Pools | None = None

    def request(
        self,
        endpoint: Endpoint,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        length: int = -1,
        authorization: str = "",
        attempts: int = 5,
        patience: float = 1,
        follow: bool = True,
        check: Callable[[str], None] | None = None,
        kinds: frozenset[int] | None = None,
    ) -> Response:
        """The response to `method target`, whatever its status; to be closed. `target` is a path at `endpoint` or an
        absolute URL.

        `body` is bytes, or makes the pieces of a body of `length` bytes anew for each attempt; `attempts` is how
        often the request may be made (1: a body that cannot be repeated); `patience` multiplies the stall timeout
        for the answer; `check` refuses the URL of a hop by raising; `kinds` are the addresses a connection may have.
        Raises TransferError (`Unreachable` when nothing was sent), InvalidArgument for unusable certificates."""
        url = target if "://" in target else endpoint.url + target
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            sent["Content-Length"] = str(length)
        request = _Request(method, url, sent, body, authorization)
        for _ in range(REDIRECTS_MAX + 1):
            if check is not None:
                check(request.url)
            response = self._attempts(endpoint, request, attempts, patience, kinds)
            if response.status not in _REDIRECTS or not follow or not response.header("location"):
                return response
            with response:
                request = self._redirected(endpoint, request, response)
        raise self.failure(TransferError, f"{origin_of(url)} redirects more than {REDIRECTS_MAX} times")

    def failure(self, kind: type[TiffinError], message: str) -> TiffinError:
        """An error whose text has gone through the sink."""
        return kind(self.redact(message))

    def trace(self, line: str) -> None:
        """Tell whoever debugs; the line goes through the sink."""
        if self._trace is not None:
            self._trace(self.redact(line))

    def close(self) -> None:
        """End all waits and idle connections. Idempotent; a request made afterwards fails."""
        self.waiting.close()
        with self._lock:
            if self._pools is not None:
                self._pools.close()

    # --- one hop ----------------------------------------------------------------------------------------------------

    def _attempts(
        self,
        endpoint: Endpoint,
        request: _Request,
        attempts: int,
        patience: float,
        kinds: frozenset[int] | None,
    ) -> Response:
        for attempt in range(1, attempts + 1):
            try:
                response = self._once(endpoint, request, patience, kinds)
            except TransferError as error:
                wait = pause_before(attempt, error)
                http_is_next = isinstance(error, Unreachable) and endpoint.insecure
                if attempt == attempts or wait is None or (http_is_next and "https:" in request.url[:6]):
                    raise
                self.trace(f"* {error}; again in {wait:.1f} s")
            else:
                if attempt == attempts or not is_transient(response.status):
                    return response
                wait = pause_before(attempt, response)
                if wait is None:
                    return response
                response.close()
                self.trace(f"* {origin_of(request.url)} answered {response.status}; again in {wait:.1f} s")
            self.waiting.sleep(wait)
        raise AssertionError("attempts is at least 1")

    def _once(
        self, endpoint: Endpoint, request: _Request, patience: float, kinds: frozenset[int] | None
    ) -> Response:
        from tiffin.registry.pools import logged_through, was_connecting

        self.waiting.check()
        origin = origin_of(request.url)
        trust = self._trust(endpoint, origin, bool(request.authorization) or kinds is not None, kinds)
        manager = self._pools_made().manager(trust, self._proxy_of(origin))
        headers = dict(request.headers)
        if request.authorization:
            headers["Authorization"] = request.authorization
            self.redact.learn(request.authorization.partition(" ")[2])
        self._trace_request(request, headers)
        body = _Body(request.body()) if callable(request.body) else request.body
        try:
            with logged_through(self.redact):
                raw = manager.urlopen(
                    request.method,
                    request.url,
                    body=body,
                    headers=headers,
                    redirect=False,
                    timeout=self._timeout(patience),
                    preload_content=False,
                    decode_content=False,
                )
        except Exception as error:
            if isinstance(error, TiffinError) or (isinstance(body, _Body) and body.failure is error):
                raise
            doing = f"{request.method} {origin}"
            raise failure_of(error, doing, self.redact, connecting=was_connecting()) from None
        response = Response(raw, request.url, self)
        self._trace_response(response)
        return response

    def _timeout(self, patience: float) -> Any:
        import urllib3

        stall = float(self.settings.stall_timeout)
        return urllib3.Timeout(connect=stall, read=stall * patience)

    def _pools_made(self) -> Pools:
        from tiffin.registry.pools import Pools

        with self._lock:
            if self._pools is None:
                self._pools = Pools(self.redact)
            return self._pools

    def _trust(self, endpoint: Endpoint, origin: Origin, secret: bool, kinds: frozenset[int] | None) -> Trust:
        """Client certificates are shown to the registry alone. Unverified TLS, which the settings allow to a host,
        extends to other hosts that it names only for what carries no secret."""
        from tiffin.registry.pools import Trust

        home = origin_of(endpoint.url)
        verify = not endpoint.insecure or (secret and origin.host != home.host)
        certificates = endpoint.client_certificates if origin == home else ()
        return Trust(endpoint.ca_files, certificates, verify, kinds)

    def _redirected(self, endpoint: Endpoint, request: _Request, response: Response) -> _Request:
        """The request to make after a redirect (RFC 9110, section 15.4). Raises TransferError when it leads where a
        registry may not."""
        url = self.follow(endpoint, request.url, response.header("location"))
        before, after = origin_of(request.url), origin_of(url)
        method = request.method
        if method not in ("GET", "HEAD") and response.status not in (307, 308):
            raise self.failure(
                TransferError, f"{before} answered {method} with a redirect of status {response.status}"
            )
        authorization = request.authorization if before == after else ""
        self.trace(f"* redirected to {url}" + ("" if before == after else ", without authorization"))
        return request._replace(url=url, authorization=authorization)

    def follow(self, endpoint: Endpoint, base: str, location: str) -> str:
        """The absolute URL of a Location that a registry names at `base`. Raises TransferError for one that is not
        http or https, that goes from https to http unless the registry is insecure, or that leads further inside
        the network by a literal address."""
        try:
            url = resolve_location(base, location)
        except TransferError as error:
            raise self.failure(TransferError, str(error)) from None
        before, after = origin_of(base), origin_of(url)
        if before.scheme == "https" and after.scheme == "http" and not endpoint.insecure:
            raise self.failure(
                TransferError,
                f"{before} leads from https to {after}: refused, as it is not listed as insecure",
            )
        if before.host != after.host and _is_address(after.host):
            kinds = host_kinds(after.host, after.port)
            if not may_lead(host_kinds(origin_of(endpoint.url).host, after.port), kinds):
                raise self.failure(
                    TransferError, f"{before} leads to the {kind_name(kinds)} address {after.host}: refused"
                )
        return url

    # --- telling ----------------------------------------------------------------------------------------------------

    def _trace_request(self, request: _Request, headers: Mapping[str, str]) -> None:
        if self._trace is not None:
            told = "; ".join(f"{name}: {value}" for name, value in headers.items() if name != "User-Agent")
            self.trace(f"> {request.method} {request.url}")
            self.trace(f">   {told}")

    def _trace_response(self, response: Response) -> None:
        if self._trace is not None:
            names = (
                "content-type",
                "content-length",
                "location",
                "docker-content-digest",
                "www-authenticate",
            )
            told = "; ".join(f"{name}: {response.header(name)}" for name in names if response.header(name))
            self.trace(f"< {response.status} {told}")


class _Body:
    """The pieces of a body. Remembers whether it was they that failed: that is the caller's affair, not the
    registry's."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except BaseException as error:
            self.failure = error
            raise


def _is_address(host: str) -> bool:
    try:
        address_kind(host)
    except ValueError:
        return host == "localhost"
    return True
