"""From a registry's challenge to the Authorization header that answers it.

Nothing is sent before a registry asks. Then bearer goes before basic; without a credential everybody's token is tried.
Tokens are kept for as long as they live, and one that allows more serves requests that need less.
"""

from __future__ import annotations

import threading

from tiffin.registry import scopes
from tiffin.registry.challenges import Challenge, parse_challenges
from tiffin.registry.origin import origin_of
from tiffin.registry.tokens import Token, TokenServer, basic_header
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.registry.credentials import Credential
    from tiffin.registry.endpoints import Endpoint
    from tiffin.registry.response import Response
    from tiffin.registry.scopes import Scope
    from tiffin.registry.transport import Transport

__all__ = ["Authorizer", "Challenge", "Session", "parse_challenges"]

_TOKENS_MAX = 256


class Authorizer:
    """The credentials of one endpoint, and the tokens that they were exchanged for. Safe to use from many threads: of
    those that need the same token, one fetches it."""

    def __init__(
        self, endpoint: Endpoint, credential: Callable[[], Credential | None], http: Transport
    ) -> None:
        """`credential` is asked once, when the registry wants to know (it may have to run a helper)."""
        self._endpoint = endpoint
        self._ask = credential
        self._http = http
        self._lock = threading.RLock()
        self._known: tuple[Credential | None] | None = None
        self._basic = ""
        self._server: TokenServer | None = None
        self._tokens: list[tuple[TokenServer, Token]] = []

    @property
    def credential(self) -> Credential | None:
        """Who the user is here."""
        with self._lock:
            if self._known is None:
                self._known = (self._ask(),)
                if self._known[0] is not None:
                    self._http.redact.learn(*self._known[0][1:])
            return self._known[0]

    def header_for(self, scope: Scope) -> str:
        """The header for a request that needs `scope`; "" while the registry has not asked. May fetch a token.
        Raises Unauthorized, TransferError."""
        with self._lock:
            if self._server is not None:
                return f"Bearer {self._token(self._server, scope)}"
            return self._basic

    def answer(self, challenges: list[Challenge], scope: Scope, failed: str) -> bool:
        """Learn from the challenges to a request that was made with the header `failed`: whether `header_for` now has
        another. Raises as it does."""
        with self._lock:
            for challenge in sorted(challenges, key=lambda one: one.scheme != "bearer"):
                if challenge.scheme == "bearer" and challenge.params.get("realm"):
                    return self._answer_bearer(challenge, scope, failed)
                held = self.credential
                if challenge.scheme == "basic" and held is not None and held.secret:
                    self._server, self._basic = None, basic_header(held, self._http)
                    return self._basic != failed
        return False

    def _answer_bearer(self, challenge: Challenge, scope: Scope, failed: str) -> bool:
        server = TokenServer(
            self._endpoint, challenge.params["realm"], challenge.params.get("service", "")[:1024]
        )
        self._server = server
        self._tokens = [kept for kept in self._tokens if f"Bearer {kept[1].value}" != failed]
        wanted = scope | scopes.parse(challenge.params.get("scope", ""))
        return f"Bearer {self._token(server, wanted)}" != failed

    def _token(self, server: TokenServer, scope: Scope) -> str:
        held = self.credential
        if held is not None and held.registry_token:
            return held.registry_token
        now = self._http.waiting.clock()
        self._tokens = [kept for kept in self._tokens if kept[1].expires > now][-_TOKENS_MAX:]
        for known, token in self._tokens:
            if known == server and scope <= token.scope and (scope or not token.scope):
                return token.value
        token = server.fetch(scope, held, self._http)
        self._tokens.append((server, token))
        return token.value


class Session:
    """Requests to one endpoint by somebody: `Transport.request` with authorization, which goes to that endpoint's
    origin and nowhere else, and one more try when it asks who we are."""

    def __init__(self, endpoint: Endpoint, transport: Transport, authorizer: Authorizer) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.authorizer = authorizer
        self.home = origin_of(endpoint.url)
        self.unreachable = False  # seen to be; others are asked first

    def request(self, method: str, target: str, scope: Scope, **how: Any) -> Response:
        """The response, whatever its status; to be closed. `how` is what `Transport.request` takes."""
        url = target if "://" in target else self.endpoint.url + target
        if origin_of(url) != self.home:
            return self.transport.request(self.endpoint, method, url, **how)
        header = self.authorizer.header_for(scope)
        response = self.transport.request(self.endpoint, method, url, authorization=header, **how)
        if response.status != 401 or origin_of(response.url) != self.home:
            return response
        try:
            challenges = parse_challenges(response.header("www-authenticate"))
            if not self.authorizer.answer(challenges, scope, header):
                return response
            header = self.authorizer.header_for(scope)
        except BaseException:
            response.close()
            raise
        response.close()
        return self.transport.request(self.endpoint, method, url, authorization=header, **how)
