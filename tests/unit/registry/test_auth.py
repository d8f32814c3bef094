"""Tokens: asked for once, used for what they allow, renewed when they end."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.hostile_registry import Answer, Hostile, Seen
from tests.unit.registry.support import Memory, authorizations, client_of, manifest_answer, manifest_of
from tiffin.config import RegistrySettings
from tiffin.errors import InvalidArgument, PermissionDenied, TransferError, Unauthorized
from tiffin.oci.descriptor import MANIFEST
from tiffin.registry.client import Registry
from tiffin.registry.credentials import Credential
from tiffin.registry.transport import Transport
from tiffin.registry.waiting import Waiting

ALICE = Credential("alice", "secret")


class Guarded(Hostile):
    """A registry whose tokens say what they are for, and end when told."""

    def __init__(self) -> None:
        super().__init__()
        self.valid: dict[str, set[str]] = {}
        self.asked: list[dict[str, str]] = []
        self.life = 300
        self.on("*", "/token.*", self.give)
        self.on("*", "/v2/.*", self.check)

    def give(self, seen: Seen) -> Answer:
        query = urllib.parse.parse_qs(seen.path.partition("?")[2] + seen.body.decode())
        self.asked.append({key: " ".join(value) for key, value in query.items()})
        token = f"token-{len(self.asked)}"
        self.valid[token] = set(" ".join(query.get("scope", [])).split())
        return Answer(200, body=json.dumps({"token": token, "expires_in": self.life}).encode())

    def check(self, seen: Seen) -> Answer:
        name = seen.path.split("/")[2]
        action = "pull" if seen.method in ("GET", "HEAD") else "pull,push"
        held = self.valid.get(seen.headers.get("authorization", "").removeprefix("Bearer "), set())
        if any(f"repository:{name}:" in scope and action in scope for scope in held):
            return Answer(201) if seen.method == "PUT" else manifest_answer(manifest_of())
        scope = f'scope="repository:{name}:{action}"'
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="{self.url}/token",service="s",{scope}'})


@pytest.fixture
def registry() -> Iterator[Guarded]:
    server = Guarded()
    with server:
        yield server


def test_a_token_serves_until_more_is_needed(registry: Guarded) -> None:
    with client_of() as client:
        a = client.repository(f"{registry.host}/a")
        for _ in range(3):
            a.manifest("1")
        assert [asked["scope"] for asked in registry.asked] == ["repository:a:pull"]
        a.put_manifest("1", manifest_of(), MANIFEST)
        a.manifest("1")
        assert [asked["scope"] for asked in registry.asked[1:]] == ["repository:a:pull,push"]
        client.repository(f"{registry.host}/b").manifest("1")
        assert registry.asked[2]["scope"] == "repository:b:pull"
    unauthorized = [seen for seen in registry.requests(path="/v2/.*") if "authorization" not in seen.headers]
    assert len(unauthorized) == 1  # where tokens come from is learnt once


def test_a_token_that_is_no_longer_believed_is_renewed_once(registry: Guarded) -> None:
    with client_of() as client:
        repository = client.repository(f"{registry.host}/a")
        repository.manifest("1")
        registry.valid.clear()
        repository.manifest("1")
        assert len(registry.asked) == 2
        registry.on("*", "/v2/.*", registry.check)
        registry._rules[1] = (
            "*",
            registry._rules[1][1],
            [Answer(401, {"WWW-Authenticate": 'Bearer realm="{}"'.format(f"{registry.url}/token")})],
        )
        with pytest.raises(Unauthorized, match="tiffin login"):
            repository.manifest("1")
        assert len(registry.asked) == 3


def test_a_token_is_renewed_before_it_ends(registry: Guarded) -> None:
    now = [1000.0]
    waiting = Waiting(clock=lambda: now[0])
    transport = Transport(RegistrySettings(), environment={}, waiting=waiting)
    with Registry(RegistrySettings(), Memory(), transport=transport) as client:
        repository = client.repository(f"{registry.host}/a")
        repository.manifest("1")
        now[0] += 260
        repository.manifest("1")
        assert len(registry.asked) == 1
        now[0] += 20
        repository.manifest("1")
        assert len(registry.asked) == 2
    challenged = [seen for seen in registry.requests(path="/v2/.*") if "authorization" not in seen.headers]
    assert len(challenged) == 1


@pytest.mark.parametrize("life", [None, 0, -5, 1, "600", 1e400, True, 10**30])
def test_a_life_that_makes_no_sense_is_a_minute_or_a_day(registry: Guarded, life: object) -> None:
    registry.life = life  # type: ignore[assignment] # as it comes from outside
    with client_of() as client:
        for _ in range(2):
            client.repository(f"{registry.host}/a").manifest("1")
    assert len(registry.asked) == 1


def test_many_threads_fetch_one_token(registry: Guarded) -> None:
    with client_of() as client:
        repository = client.repository(f"{registry.host}/a")
        threads = [threading.Thread(target=repository.manifest, args=("1",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(registry.asked) <= 2
    assert len(list(registry.requests(path="/v2/.*"))) >= 8


def test_basic_is_given_only_when_asked_for() -> None:
    with Hostile() as server:
        server.on("GET", "/v2/open/.*", manifest_answer(manifest_of()))
        server.on("GET", "/v2/closed/.*", Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}))
        with client_of({server.host: ALICE}) as client:
            client.repository(f"{server.host}/open").manifest("1")
            assert not authorizations(server)
            with pytest.raises(Unauthorized):
                client.repository(f"{server.host}/closed").manifest("1")
            assert len(server.requests(path="/v2/closed/.*")) == 2
        with client_of() as client, pytest.raises(Unauthorized, match=f"run 'tiffin login {server.host}'"):
            client.repository(f"{server.host}/closed").manifest("1")


def test_bearer_goes_before_basic(registry: Guarded) -> None:
    both = f'Basic realm="x", Bearer realm="{registry.url}/token",service="s"'
    registry._rules.insert(
        0, ("GET", registry._rules[1][1], [Answer(401, {"WWW-Authenticate": both}), registry.check])
    )
    with client_of({registry.host: ALICE}) as client:
        client.repository(f"{registry.host}/a").manifest("1")
    assert {seen.headers["authorization"].split()[0] for seen in registry.requests(path="/v2/.*")[1:]} == {
        "Bearer"
    }


def test_a_registry_token_is_sent_as_it_is(registry: Guarded) -> None:
    registry.valid["ready-made"] = {"repository:a:pull"}
    with client_of({registry.host: Credential(registry_token="ready-made")}) as client:
        client.repository(f"{registry.host}/a").manifest("1")
    assert not registry.asked


def test_an_identity_token_is_exchanged_and_a_password_only_where_get_is_unknown(registry: Guarded) -> None:
    with client_of({registry.host: Credential("alice", identity_token="me")}) as client:
        client.repository(f"{registry.host}/a").manifest("1")
    assert registry.asked[0] == {
        "service": "s",
        "scope": "repository:a:pull",
        "client_id": "tiffin",
        "grant_type": "refresh_token",
        "refresh_token": "me",
    }
    registry._rules.insert(0, ("GET", registry._rules[0][1], [Answer(405)]))
    with client_of({registry.host: ALICE}) as client:
        client.repository(f"{registry.host}/a").manifest("1")
    assert registry.asked[1]["grant_type"] == "password"
    assert registry.asked[1]["password"] == "secret"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, body=b'{"details":"incorrect username or password"}'), "incorrect username or password"),
        (Answer(403, body=b'{"errors":[{"code":"DENIED","message":"blocked"}]}'), "denied: blocked"),
        (Answer(400, body=b'{"error":"invalid_grant","error_description":"who?"}'), "invalid grant: who?"),
        (Answer(401), "authentication required"),
    ],
)
def test_a_token_server_that_refuses_is_quoted(registry: Guarded, answer: Answer, said: str) -> None:
    registry._rules.insert(0, ("*", registry._rules[0][1], [answer]))
    with client_of({registry.host: ALICE}) as client, pytest.raises(Unauthorized, match=said):
        client.repository(f"{registry.host}/a").manifest("1")


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"{}", b'{"token":7}', b'{"token":""}', b'{"token":"a\\nb"}']
)
def test_an_answer_without_a_token_is_an_error(registry: Guarded, body: bytes) -> None:
    registry._rules.insert(0, ("*", registry._rules[0][1], [Answer(200, body=body)]))
    with client_of({registry.host: ALICE}) as client, pytest.raises(TransferError, match=r"token|JSON"):
        client.repository(f"{registry.host}/a").manifest("1")


def test_scope_that_is_not_enough_is_denied(registry: Guarded) -> None:
    header = f'Bearer realm="{registry.url}/token",error="insufficient_scope"'
    registry._rules.insert(0, ("*", registry._rules[1][1], [Answer(401, {"WWW-Authenticate": header})]))
    name = f"{registry.host}/a"
    with client_of() as client:
        with pytest.raises(
            PermissionDenied, match=f"^pull access denied for {name}, repository does not exist or "
        ):
            client.repository(name).manifest("1")
        with pytest.raises(PermissionDenied, match="denied: requested access to the resource is denied"):
            client.repository(name).put_manifest("1", manifest_of(), MANIFEST)


def test_a_user_name_with_a_colon_cannot_be_sent() -> None:
    with Hostile() as server:
        server.on("GET", ".*", Answer(401, {"WWW-Authenticate": "Basic"}))
        with (
            client_of({server.host: Credential("a:b", "c")}) as client,
            pytest.raises(InvalidArgument, match="colon"),
        ):
            client.repository(f"{server.host}/a").manifest("1")


def test_a_mirror_has_credentials_of_its_own(registry: Guarded) -> None:
    with Hostile() as mirror:
        mirror.on("GET", ".*", Answer(401, {"WWW-Authenticate": 'Basic realm="r"'}))
        settings = RegistrySettings(mirrors={registry.host: (mirror.url,)})
        with client_of({registry.host: ALICE}, settings=settings) as client:
            client.repository(f"{registry.host}/a").manifest("1")
        assert not authorizations(mirror)
        with client_of({mirror.host: Credential("bob", "word")}, settings=settings) as client:
            client.repository(f"{registry.host}/a").manifest("1")
        assert len(authorizations(mirror)) == 1
