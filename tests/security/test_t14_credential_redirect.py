"""T14: what authorizes us at a registry is for its origin, whatever it says about others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile_registry import PUBLIC_ADDRESS, Answer, Hostile, Proxy, names
from tests.registries import make_tls
from tests.unit.registry.support import (
    authorizations,
    blob_of,
    client_of,
    manifest_answer,
    manifest_of,
    read_all,
    trusting,
)
from tiffin.errors import TransferError, Unauthorized
from tiffin.registry.credentials import Credential

DATA = b"bytes of a layer" * 1000
ALICE = Credential("alice", "open sesame")


@pytest.fixture
def home() -> Iterator[Hostile]:
    """A registry that wants a password."""
    with Hostile() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


def guarded(answer: Answer):
    """`answer` for who has a password, a challenge for others."""

    def respond(seen):
        if "authorization" in seen.headers:
            return answer
        return Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})

    return respond


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_port_drops_the_authorization(
    home: Hostile, other: Hostile, status: int
) -> None:
    home.on("GET", "/v2/a/blobs/.*", guarded(Answer(status, {"Location": f"{other.url}/data?sig=1"})))
    other.on("GET", "/data.*", Answer(200, body=DATA))
    with client_of({home.host: ALICE}) as client:
        assert read_all(client.repository(f"{home.host}/a").open_blob(blob_of(DATA))) == DATA
    assert len(authorizations(home)) == 1
    assert other.seen
    assert not authorizations(other)


def test_a_redirect_within_the_origin_keeps_it(home: Hostile) -> None:
    home.on("GET", "/v2/a/blobs/.*", guarded(Answer(307, {"Location": "/elsewhere"})))
    home.on("GET", "/elsewhere", guarded(Answer(200, body=DATA)))
    with client_of({home.host: ALICE}) as client:
        assert read_all(client.repository(f"{home.host}/a").open_blob(blob_of(DATA))) == DATA


def test_what_was_dropped_does_not_come_back(home: Hostile, other: Hostile) -> None:
    """Home, elsewhere, home again: the last request was chosen by somebody else."""
    home.on("GET", "/v2/a/blobs/.*", guarded(Answer(307, {"Location": f"{other.url}/back"})))
    home.on("*", "/chosen", Answer(200, body=DATA))
    other.on("GET", "/back", Answer(307, {"Location": f"{home.url}/chosen"}))
    with client_of({home.host: ALICE}) as client:
        read_all(client.repository(f"{home.host}/a").open_blob(blob_of(DATA)))
    assert not [seen for seen in home.requests(path="/chosen") if "authorization" in seen.headers]


def test_a_bearer_token_is_dropped_too(home: Hostile, other: Hostile) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="{home.url}/token",service="s"'}
    home.on("GET", "/token.*", Answer(200, body=b'{"token":"the-token-of-alice"}'))
    home.on(
        "GET",
        "/v2/a/manifests/1",
        Answer(401, challenge),
        Answer(307, {"Location": f"{other.url}/manifest"}),
    )
    other.on("GET", "/manifest", manifest_answer(manifest_of()))
    with client_of({home.host: ALICE}) as client:
        assert client.repository(f"{home.host}/a").manifest("1").data == manifest_of()
    assert "Bearer the-token-of-alice" in authorizations(home)
    assert not authorizations(other)


def test_an_upload_location_elsewhere_gets_the_bytes_alone(home: Hostile, other: Hostile) -> None:
    home.on("HEAD", "/v2/a/blobs/.*", guarded(Answer(404)))
    home.on("POST", "/v2/a/blobs/uploads/", guarded(Answer(202, {"Location": f"{other.url}/up"})))
    other.on("PUT", "/up[?].*", Answer(405))
    other.on("DELETE", "/up", Answer(204))
    other.on("PATCH", "/up", Answer(202, {"Location": f"{other.url}/up2", "Range": f"0-{len(DATA) - 1}"}))
    other.on("PUT", "/up2[?].*", Answer(201))
    with client_of({home.host: ALICE}) as client:
        client.repository(f"{home.host}/a").push_blob(blob_of(DATA), lambda at: io.BytesIO(DATA[at:]))
    assert {"PUT", "PATCH", "DELETE"} <= {seen.method for seen in other.seen}
    assert not authorizations(other)


def test_a_redirected_upload_gets_the_bytes_alone(home: Hostile, other: Hostile) -> None:
    home.on("HEAD", "/v2/a/blobs/.*", guarded(Answer(404)))
    home.on("POST", "/v2/a/blobs/uploads/", guarded(Answer(202, {"Location": "/up"})))
    home.on("PUT", "/up.*", Answer(307, {"Location": f"{other.url}/store"}))
    other.on("PUT", "/store", Answer(201))
    with client_of({home.host: ALICE}) as client:
        client.repository(f"{home.host}/a").push_blob(blob_of(DATA), lambda at: io.BytesIO(DATA[at:]))
    assert [seen.body for seen in other.seen] == [DATA]
    assert not authorizations(other)


def test_a_list_is_not_continued_elsewhere(home: Hostile, other: Hostile) -> None:
    link = {"Link": f'<{other.url}/v2/a/tags/list?last=x>; rel="next"'}
    home.on("GET", "/v2/a/tags/list", guarded(Answer(200, link, b'{"tags":["x"]}')))
    with client_of({home.host: ALICE}) as client, pytest.raises(TransferError, match="continues its list at"):
        list(client.repository(f"{home.host}/a").tags())
    assert not other.seen


def test_the_urls_of_a_foreign_layer_are_asked_as_nobody(home: Hostile, other: Hostile) -> None:
    home.on("GET", "/v2/a/blobs/.*", guarded(Answer(404)))
    other.on("GET", "/layer", Answer(200, body=DATA))
    with client_of({home.host: ALICE}) as client:
        repository = client.repository(f"{home.host}/a")
        assert read_all(repository.open_blob(blob_of(DATA), urls=[f"{other.url}/layer"])) == DATA
    assert not authorizations(other)


def test_a_foreign_401_is_not_answered(home: Hostile, other: Hostile) -> None:
    home.on("GET", "/v2/a/blobs/.*", guarded(Answer(307, {"Location": f"{other.url}/x"})))
    other.on("GET", "/x", Answer(401, {"WWW-Authenticate": 'Basic realm="give me"'}))
    with client_of({home.host: ALICE}) as client, pytest.raises(Unauthorized):
        client.repository(f"{home.host}/a").open_blob(blob_of(DATA))
    assert len(other.seen) == 1
    assert not authorizations(other)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "data:text/plain,x",
        "http://",
        "http://user:word@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "//",
        "http://[::1/x",
        "http://a b\\c/",
    ],
)
def test_a_redirect_to_no_usable_place_is_refused(home: Hostile, location: str) -> None:
    home.on("GET", "/v2/a/blobs/.*", Answer(307, {"Location": location}))
    with client_of() as client, pytest.raises(TransferError) as caught:
        client.repository(f"{home.host}/a").open_blob(blob_of(DATA))
    assert "word" not in str(caught.value)


def test_a_public_registry_leads_neither_to_http_nor_inside(tmp_path: Path) -> None:
    tls = make_tls(tmp_path, "registry.example")
    with Hostile(tls) as home, Hostile() as inside, Proxy({"registry.example": home.port}) as proxy:
        settings = trusting(tmp_path, tls, "registry.example")
        environment = {"https_proxy": proxy.address, "http_proxy": proxy.address}
        with (
            names({"registry.example": [PUBLIC_ADDRESS]}),
            client_of(settings=settings, environment=environment) as client,
        ):
            repository = client.repository("registry.example/a")
            for location in (
                "http://registry.example/x",
                f"{inside.url}/x",
                "https://169.254.169.254/latest/meta-data",
                "https://[::ffff:169.254.169.254]/latest",
                f"https://localhost:{inside.port}/x",
                "https://10.0.0.1/x",
            ):
                home._rules.clear()
                home.on("GET", "/v2/a/blobs/.*", Answer(307, {"Location": location}))
                with pytest.raises(TransferError, match="refused"):
                    repository.open_blob(blob_of(DATA))
        assert not inside.seen
        assert {line.split(" ")[1] for line in proxy.asked} == {"registry.example:443"}


def test_a_client_certificate_is_shown_to_the_registry_alone(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with Hostile(tls, ask_certificate=True) as home, Hostile(tls, ask_certificate=True) as other:
        settings = trusting(tmp_path, tls, home.host)
        directory = tmp_path / "certs.d" / home.host
        (directory / "client.cert").write_bytes(Path(tls.certificate).read_bytes())
        (directory / "client.key").write_bytes(Path(tls.key).read_bytes())
        home.on("GET", "/v2/a/blobs/.*", Answer(307, {"Location": f"{other.url}/x"}))
        other.on("GET", "/x", Answer(200, body=DATA))
        with client_of(settings=settings) as client:
            assert read_all(client.repository(f"{home.host}/a").open_blob(blob_of(DATA))) == DATA
        assert [seen.certificate for seen in home.seen] == [True]
        assert [seen.certificate for seen in other.seen] == [False]
