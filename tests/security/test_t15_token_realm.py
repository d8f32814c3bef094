"""T15: a registry says where its tokens are to be had; a password goes there only when that is believable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile_registry import PUBLIC_ADDRESS, Answer, Hostile, Proxy, names
from tests.registries import Tls, make_tls
from tests.unit.registry.support import authorizations, client_of, manifest_answer, manifest_of, trusting
from tiffin.errors import TiffinError, TransferError
from tiffin.registry.client import Registry
from tiffin.registry.credentials import Credential
from tiffin.registry.origin import PUBLIC, host_kinds

ALICE = Credential("alice", "open sesame")
PRIVATE_ADDRESS = "10.11.12.13"
TOKEN = Answer(200, body=b'{"token":"a-token"}')


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"), "registry.example", "auth.example")


@pytest.fixture
def registry(tls: Tls) -> Iterator[Hostile]:
    with Hostile(tls) as server:
        yield server


@pytest.fixture
def auth(tls: Tls) -> Iterator[Hostile]:
    with Hostile(tls) as server:
        server.on("GET", "/token.*", TOKEN)
        server.on("POST", "/token.*", TOKEN)
        yield server


def challenge(realm: str) -> Answer:
    return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="repository:a:pull"'})


def pull(client: Registry, name: str = "registry.example/a") -> bytes:
    return client.repository(name).manifest("1").data


REFUSED = [
    "http://auth.example/token",
    "http://registry.example/token",
    "http://169.254.169.254/token",
    "https://169.254.169.254/token",
    "https://[fd00:ec2::254]/token",
    "https://[::ffff:10.0.0.1]/token",
    "https://[64:ff9b::a9fe:a9fe]/token",
    "https://100.100.100.200/token",
    "https://127.0.0.1/token",
    "https://2130706433.localhost/token",
    "https://localhost:5000/token",
    "https://0.0.0.0/token",
    "https://[::]/token",
    "https://10.1.2.3/token",
    "https://192.168.1.1/token",
    "https://inside.example/token",
    "https://both.example/token",
    "file:///etc/passwd",
    "ftp://auth.example/token",
    "https://alice@auth.example/token",
    "https:///token",
    "//auth.example/token",
    "/token",
    "token",
    "https://auth.example:0x50/token",
    "https://auth.example/tok en",
    "https://auth.example\\\\@registry.example/token",
]


@pytest.mark.parametrize(
    ("realm", "credential"),
    [(realm, ALICE) for realm in REFUSED]
    + [(REFUSED[0], Credential(identity_token="the-identity")), (REFUSED[0], None)],
)
def test_a_realm_that_is_not_believable_gets_nothing(
    tmp_path: Path, tls: Tls, registry: Hostile, auth: Hostile, realm: str, credential: Credential | None
) -> None:
    registry.on("*", ".*", challenge(realm))
    addresses = {
        "registry.example": [PUBLIC_ADDRESS],
        "auth.example": [PUBLIC_ADDRESS],
        "inside.example": [PRIVATE_ADDRESS],
        "both.example": [PRIVATE_ADDRESS],
    }
    ports = {"registry.example": registry.port, "auth.example": auth.port, "inside.example": auth.port}
    with names(addresses), Proxy({**ports, "169.254.169.254": auth.port}) as proxy:
        environment = {"HTTPS_PROXY": proxy.address, "HTTP_PROXY": proxy.address}
        known = {"registry.example": credential} if credential else {}
        settings = trusting(tmp_path, tls, "registry.example")
        with (
            client_of(known, settings=settings, environment=environment) as client,
            pytest.raises(TiffinError),
        ):
            pull(client)
        assert {line.split(" ")[1] for line in proxy.asked} == {"registry.example:443"}
    assert not auth.seen
    assert not authorizations(registry)


@pytest.mark.parametrize(
    "credential",
    [ALICE, Credential(identity_token="the-identity"), None],
    ids=["password", "identity", "none"],
)
def test_another_public_host_is_legitimate(
    tmp_path: Path, tls: Tls, registry: Hostile, auth: Hostile, credential: Credential | None
) -> None:
    registry.on("GET", ".*", challenge("https://auth.example/token?x=1"), manifest_answer(manifest_of()))
    ports = {"registry.example": registry.port, "auth.example": auth.port}
    with names({name: [PUBLIC_ADDRESS] for name in ports}), Proxy(ports) as proxy:
        known = {"registry.example": credential} if credential else {}
        settings = trusting(tmp_path, tls, "registry.example")
        with client_of(known, settings=settings, environment={"https_proxy": proxy.address}) as client:
            assert pull(client) == manifest_of()
    assert authorizations(registry) == {"Bearer a-token"}
    [asked] = auth.seen
    assert "x=1" in asked.path
    if credential is ALICE:
        assert "scope=repository%3Aa%3Apull" in asked.path
        assert asked.headers["authorization"].startswith("Basic ")
    elif credential:
        assert b"refresh_token=the-identity" in asked.body
        assert "authorization" not in asked.headers
    else:
        assert not authorizations(auth)


def test_a_name_that_moves_inside_after_it_was_checked_gets_nothing(
    tmp_path: Path, tls: Tls, registry: Hostile, auth: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check sees a public address, the connection would end at this machine."""
    from tiffin.registry import realms

    registry.on("*", ".*", challenge(f"https://auth.example:{auth.port}/token"))
    here = f"registry.example:{registry.port}"
    addresses = {"registry.example": ["127.0.0.1"], "auth.example": [PUBLIC_ADDRESS] * 2 + ["127.0.0.1"]}
    monkeypatch.setattr(
        realms,
        "host_kinds",
        lambda host, port: {PUBLIC} if host == "registry.example" else host_kinds(host, port),
    )
    with (
        names(addresses),
        client_of({here: ALICE}, settings=trusting(tmp_path, tls, here)) as client,
        pytest.raises(TransferError, match=r"auth.example leads to the loopback address 127.0.0.1: refused"),
    ):
        pull(client, f"{here}/a")
    assert registry.seen
    assert not auth.seen


def test_a_realm_that_redirects_inside_is_not_followed(
    tmp_path: Path, tls: Tls, registry: Hostile, auth: Hostile
) -> None:
    registry.on("GET", ".*", challenge("https://auth.example/moved"))
    ports = {"registry.example": registry.port, "auth.example": auth.port}
    addresses = {"registry.example": [PUBLIC_ADDRESS], "auth.example": [PUBLIC_ADDRESS]}
    for location in ("https://169.254.169.254/token", "http://auth.example/token", "https://localhost/token"):
        auth._rules.clear()
        auth.on("GET", "/moved.*", Answer(302, {"Location": location}))
        with names(addresses), Proxy(ports) as proxy:
            environment = {"https_proxy": proxy.address, "http_proxy": proxy.address}
            settings = trusting(tmp_path, tls, "registry.example")
            with (
                client_of({"registry.example": ALICE}, settings=settings, environment=environment) as client,
                pytest.raises(TransferError, match="refused"),
            ):
                pull(client)
            assert {line.split(" ")[1] for line in proxy.asked} == {
                "registry.example:443",
                "auth.example:443",
            }


def test_the_password_is_for_the_realm_and_the_token_for_the_registry(
    tmp_path: Path, registry: Hostile, auth: Hostile
) -> None:
    """On loopback, which is insecure by itself: another port of the same host is a fine realm."""
    registry.on("GET", ".*", challenge(f"{auth.url}/token"), manifest_answer(manifest_of()))
    with client_of({registry.host: ALICE}) as client:
        pull(client, f"{registry.host}/a")
    assert authorizations(registry) == {"Bearer a-token"}
    assert all(header.startswith("Basic ") for header in authorizations(auth))


def test_an_identity_token_is_not_posted_on(registry: Hostile, auth: Hostile) -> None:
    registry.on("GET", ".*", challenge(f"{registry.url}/login"))
    registry.on("POST", "/login", Answer(307, {"Location": f"{auth.url}/token"}))
    with (
        client_of({registry.host: Credential(identity_token="i-am-alice")}) as client,
        pytest.raises(TiffinError),
    ):
        pull(client, f"{registry.host}/a")
    assert not auth.seen
