"""Bearer tokens from a registry's token server (Docker's token and OAuth2 specifications).

    GET  realm?service=&scope=&scope=&account=     with a basic header, or without for everybody's token
    POST realm  grant_type=refresh_token           with an identity token, or grant_type=password where GET is unknown

The answer is `{"token" or "access_token": ..., "expires_in": seconds}`.
"""

from __future__ import annotations

from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, TransferError, Unauthorized
from tiffin.oci.descriptor import decode_json
from tiffin.oci.reference import shown
from tiffin.registry import scopes
from tiffin.registry.credentials import Credential
from tiffin.registry.origin import origin_of
from tiffin.registry.problems import problem_of
from tiffin.registry.realms import check_realm, kinds_allowed
from tiffin.registry.waiting import again
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.registry.endpoints import Endpoint
    from tiffin.registry.response import Response
    from tiffin.registry.scopes import Scope
    from tiffin.registry.transport import Transport

TOKEN_DOCUMENT_MAX = 1 << 20  # bytes
_TOKEN_MAX = 256 << 10  # characters; one header carries it
_LIFE = (60, 24 * 3600)  # seconds: at least what the specification says, at most a day
_CLIENT = "tiffin"
_UNKNOWN_METHOD = frozenset({404, 405, 501})


class Token(NamedTuple):
    """A token, what it is good for, and until when by the transport's clock."""

    value: str
    scope: Scope
    expires: float

    def __repr__(self) -> str:
        return f"Token(***, {sorted(self.scope)!r})"


class TokenServer(NamedTuple):
    """Where the tokens of one registry come from."""

    endpoint: Endpoint
    realm: str
    service: str

    def fetch(self, scope: Scope, credential: Credential | None, transport: Transport) -> Token:
        """A token for `scope`. Raises Unauthorized when the credential is not believed, TransferError when the realm
        is refused or its answer is none."""
        try:
            check_realm(self.endpoint, self.realm)
        except TransferError as error:
            raise transport.failure(TransferError, str(error)) from None
        held = credential or Credential()
        return again(lambda: self._fetch(scope, held, transport), transport.waiting)

    def _fetch(self, scope: Scope, held: Credential, transport: Transport) -> Token:
        if held.identity_token:
            with self._post(transport, scope, held, refresh=True) as response:
                if response.status not in _UNKNOWN_METHOD or not held.secret:
                    return self._token(response, scope, transport)
        response = self._get(transport, scope, held)
        if response.status in _UNKNOWN_METHOD and held.secret:
            response.close()
            response = self._post(transport, scope, held, refresh=False)
        with response:
            return self._token(response, scope, transport)

    def _get(self, transport: Transport, scope: Scope, credential: Credential) -> Response:
        from urllib.parse import urlencode

        query = [("service", self.service)] if self.service else []
        query += [("scope", text) for text in scopes.texts(scope)]
        if credential.secret:
            query += [("account", credential.username), ("client_id", _CLIENT)]
        url = self.realm + ("&" if "?" in self.realm else "?") + urlencode(query) if query else self.realm
        return transport.request(
            self.endpoint,
            "GET",
            url,
            authorization=basic_header(credential, transport) if credential.secret else "",
            check=lambda hop: self._check_hop(hop, transport),
            kinds=kinds_allowed(self.endpoint, self.realm),
        )

    def _post(self, transport: Transport, scope: Scope, credential: Credential, *, refresh: bool) -> Response:
        """The form holds the secret, so that redirects are not followed."""
        from urllib.parse import urlencode

        form = {"service": self.service, "scope": " ".join(scopes.texts(scope)), "client_id": _CLIENT}
        if refresh:
            form |= {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        else:
            form |= {
                "grant_type": "password",
                "username": credential.username,
                "password": credential.secret,
            }
        transport.redact.learn(credential.identity_token, credential.secret)
        return transport.request(
            self.endpoint,
            "POST",
            self.realm,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode("ascii"),
            follow=False,
            kinds=kinds_allowed(self.endpoint, self.realm),
        )

    def _check_hop(self, url: str, transport: Transport) -> None:
        try:
            check_realm(self.endpoint, url)
        except TransferError as error:
            raise transport.failure(TransferError, str(error)) from None

    def _token(self, response: Response, scope: Scope, transport: Transport) -> Token:
        where = f"the token server {origin_of(self.realm)}"
        if response.status in (400, 401, 403):
            said = problem_of(response).text or "authentication required"
            if response.status != 400 or "unauthorized" in said or "invalid" in said:
                raise transport.failure(Unauthorized, f"{where} refuses: {said}")
            raise transport.failure(TransferError, f"{where} refuses: {said}")
        if response.status != 200:
            said = problem_of(response).text
            raise transport.failure(TransferError, f"{where} answered {response.status}: {said}")
        return self._read_token(response, scope, transport, where)

    def _read_token(self, response: Response, scope: Scope, transport: Transport, where: str) -> Token:
        what = f"the answer of {where}"
        try:
            document = decode_json(response.document(TOKEN_DOCUMENT_MAX, what), what, TOKEN_DOCUMENT_MAX)
        except LimitExceeded as error:
            raise transport.failure(LimitExceeded, str(error)) from None
        except Corrupt:
            raise transport.failure(TransferError, f"{what} is not JSON") from None
        found = document if isinstance(document, dict) else {}
        value = found.get("token") or found.get("access_token")
        if not isinstance(value, str) or not 0 < len(value) <= _TOKEN_MAX or not _is_printable(value):
            raise transport.failure(TransferError, f"{what} holds no token")
        transport.redact.learn(value)
        life = found.get("expires_in", _LIFE[0])
        seconds = life if type(life) in (int, float) and life == life else _LIFE[0]
        seconds = min(max(seconds, _LIFE[0]), _LIFE[1])
        return Token(value, scope, transport.waiting.clock() + seconds * 0.9)


def basic_header(credential: Credential, transport: Transport) -> str:
    """The Authorization header of a name and password (RFC 7617). Raises InvalidArgument for a name with a colon."""
    import base64

    if ":" in credential.username:
        raise InvalidArgument(f"the user name {shown(credential.username)!r} holds a colon")
    pair = f"{credential.username}:{credential.secret}".encode()
    encoded = base64.b64encode(pair).decode("ascii")
    transport.redact.learn(encoded, credential.secret)
    return f"Basic {encoded}"


def _is_printable(token: str) -> bool:
    return all(0x21 <= ord(c) <= 0x7E for c in token)
