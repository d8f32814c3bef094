"""T18: no password and no token is in an error, in a debug trace, in a log at DEBUG, or in the repr of anything."""

from __future__ import annotations

import base64
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator

import pytest

from tests.hostile_registry import Answer, Hostile, Proxy, names
from tests.unit.registry.support import blob_of, client_of, manifest_of
from tiffin.errors import TiffinError
from tiffin.oci.descriptor import MANIFEST
from tiffin.registry.client import Registry
from tiffin.registry.credentials import Credential
from tiffin.registry.redact import Redactor, redact

PASSWORD, IDENTITY = "pass+word/of=alice", "identity-token-of-alice"
TOKEN, SIGNATURE = "bearer-token-of-alice.x_y", "0123456789abcdef0123456789abcdef"
PROXY_WORD = "proxy pass:word"
BASIC = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
SECRETS = [
    PASSWORD,
    "pass%2Bword%2Fof%3Dalice",
    BASIC,
    IDENTITY,
    TOKEN,
    SIGNATURE,
    PROXY_WORD,
    "proxy%20pass",
    base64.b64encode(f"bob:{PROXY_WORD}".encode()).decode(),
    "query-secret",
    "user-secret",
]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Everything that is told; looked through at the end."""
    lines: list[str] = []
    with caplog.at_level(logging.DEBUG):
        yield lines
    records = caplog.get_records("call")
    assert any(record.name.startswith("urllib3") for record in records)
    lines += [record.getMessage() + str(record.__dict__) for record in records]
    found = {secret for secret in SECRETS if any(secret in line for line in lines)}
    assert not found


@pytest.fixture
def evil() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


def attempt(told: list[str], client: Registry, work: Callable[[Registry], object]) -> None:
    """What `work` says when it fails, as everybody might print it."""
    try:
        told.append(repr(work(client)))
    except TiffinError as error:
        told += [str(error), repr(error), "".join(traceback.format_exception(error))]
    told += [repr(client), repr(vars(client)), repr(vars(client._transport))]


def echo(status: int, code: str = "UNKNOWN") -> Callable[..., Answer]:
    """Answers with what it was sent, in its error, its headers and as plain text."""

    def respond(seen):
        bare = seen.headers.get("authorization", "").partition(" ")[2]
        sent = IDENTITY if IDENTITY.encode() in seen.body else ""
        message = f"{bare} {sent} {PASSWORD} in {seen.headers} to {seen.path}"
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": message}]}).encode()
        return Answer(
            status,
            {"Content-Type": "application/json", "X-Echo": seen.headers.get("authorization", "")},
            body,
        )

    return respond


def everything(client: Registry, host: str) -> list[Callable[[Registry], object]]:
    data = b"data"
    return [
        lambda c: c.repository(f"{host}/a").resolve("1"),
        lambda c: c.repository(f"{host}/a").manifest("1"),
        lambda c: c.repository(f"{host}/a").open_blob(blob_of(data)).read(),
        lambda c: list(c.repository(f"{host}/a").tags()),
        lambda c: list(c.catalog(host)),
        lambda c: c.repository(f"{host}/a").push_blob(blob_of(data), lambda at: io.BytesIO(data[at:])),
        lambda c: c.repository(f"{host}/a").put_manifest("1", manifest_of(), MANIFEST),
        lambda c: c.repository(f"{host}/a").delete_manifest("1"),
        lambda c: c.search(host, "x"),
        lambda c: c.check_login(host, Credential("alice", PASSWORD)),
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 418, 429, 500])
def test_a_registry_that_echoes_what_it_was_sent(told: list[str], evil: Hostile, status: int) -> None:
    evil.on(
        "*", ".*", lambda seen: echo(status)(seen) if "authorization" in seen.headers else challenge_basic()
    )
    with client_of({evil.host: Credential("alice", PASSWORD)}, trace=told.append) as client:
        for work in everything(client, evil.host):
            attempt(told, client, work)
    assert any(f"Basic {BASIC}" == seen.headers.get("authorization") for seen in evil.seen)


def challenge_basic() -> Answer:
    return Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})


@pytest.mark.parametrize(
    "credential",
    [Credential("alice", PASSWORD), Credential("alice", PASSWORD, IDENTITY)],
    ids=["name", "identity"],
)
@pytest.mark.parametrize("token_status", [200, 400, 401, 404, 500])
def test_a_token_server_that_echoes(
    told: list[str], evil: Hostile, credential: Credential, token_status: int
) -> None:
    realm = f'Bearer realm="{evil.url}/token?client_secret=query-secret",service="s"'
    if token_status == 200:
        evil.on("*", "/token.*", Answer(200, body=json.dumps({"access_token": TOKEN}).encode()))
    evil.on("*", "/token.*", echo(token_status))
    evil.on(
        "*",
        ".*",
        lambda seen: (
            echo(400)(seen) if "authorization" in seen.headers else Answer(401, {"WWW-Authenticate": realm})
        ),
    )
    with client_of({evil.host: credential}, trace=told.append) as client:
        for work in everything(client, evil.host):
            attempt(told, client, work)
    assert any("authorization" in seen.headers or IDENTITY.encode() in seen.body for seen in evil.seen)


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature", "X-Amz-Security-Token", "sig", "token", "Signature", "X-Goog-Signature"]
)
def test_a_signed_url_in_a_redirect(told: list[str], evil: Hostile, query: str) -> None:
    location = f"/store/layer?Expires=1&{query}={SIGNATURE}&x=1"
    evil.on("GET", "/v2/a/blobs/.*", Answer(307, {"Location": location}))
    evil.on(
        "GET",
        "/store.*",
        Answer(403, {}, f"no {evil.url}{location} for you".encode()),
        Answer(500),
        Answer(404),
    )
    with client_of(trace=told.append) as client:
        for _ in range(2):
            attempt(told, client, lambda c: c.repository(f"{evil.host}/a").open_blob(blob_of(b"x")))
    assert any(SIGNATURE in seen.path for seen in evil.seen)


@pytest.mark.parametrize(
    "location",
    [
        "http://alice:user-secret@127.0.0.1:1/x",
        "file://alice:user-secret@host/x?token=query-secret",
        f"http://127.0.0.1:1/x?token={SIGNATURE}",
        f"http://127.0.0.1:99999/x?token={SIGNATURE}",
        f"gopher://x/?X-Amz-Signature={SIGNATURE}",
    ],
)
def test_a_location_that_is_refused_or_leads_nowhere(told: list[str], evil: Hostile, location: str) -> None:
    evil.on("GET", ".*", Answer(307, {"Location": location}))
    evil.on("POST", ".*", Answer(202, {"Location": location}))
    realm = {"WWW-Authenticate": f'Bearer realm="{location}"'}
    evil.on("DELETE", ".*", Answer(401, realm))
    with client_of({evil.host: Credential("alice", PASSWORD)}, trace=told.append) as client:
        for work in everything(client, evil.host):
            attempt(told, client, work)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_password_of_a_proxy(told: list[str], evil: Hostile, scheme: str) -> None:
    with Proxy({}) as proxy, names({}):
        url = f"http://bob:proxy%20pass%3Aword@{proxy.address}"
        from tiffin.config import RegistrySettings

        settings = RegistrySettings(insecure=("registry.example",))
        environment = {f"{scheme}_proxy": url}
        with client_of(environment=environment, settings=settings, trace=told.append) as client:
            attempt(told, client, lambda c: c.repository("registry.example/a").manifest("1"))
        assert proxy.authorizations
        assert not told[0].startswith("Credential")
    with client_of(environment={"https_proxy": "socks5://bob:user-secret@h:1"}, trace=told.append) as client:
        attempt(told, client, lambda c: c.repository("registry.example/a").manifest("1"))
    with client_of(environment={"https_proxy": "http://bob:user-secret@:x"}, trace=told.append) as client:
        attempt(told, client, lambda c: c.repository("registry.example/a").manifest("1"))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET https://u:user-secret@h/v2/", "GET https://<redacted>@h/v2/"),
        ("https://h/x?a=1&token=query-secret&b=2", "https://h/x?a=1&token=<redacted>&b=2"),
        ("h?X-Amz-Credential=a%2Fb&X-Amz-Date=c", "h?X-Amz-Credential=<redacted>&X-Amz-Date=<redacted>"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: <redacted>"),
        ("{'authorization': 'Bearer abc.def.ghi'}", "{'authorization': '<redacted>'}"),
        ("sent Bearer abcdefghijk and left", "sent Bearer <redacted> and left"),
        ('{"access_token":"abc","expires_in":60}', '{"access_token":"<redacted>","expires_in":60}'),
        ('{"identitytoken": "abc"}', '{"identitytoken": "<redacted>"}'),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie: <redacted>"),
        ("a eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIifQ.c2ln b", "a <redacted> b"),
        (
            "manifest for alpine:3 not found: manifest unknown",
            "manifest for alpine:3 not found: manifest unknown",
        ),
        (
            "https://h/v2/a/blobs/sha256:aa?digest=sha256:bb",
            "https://h/v2/a/blobs/sha256:aa?digest=sha256:bb",
        ),
        (
            'Bearer realm="https://auth.example/token",service="s"',
            'Bearer realm="https://auth.example/token",service="s"',
        ),
    ],
)
def test_the_sink_hides_what_is_secret_and_leaves_the_rest(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_what_was_learnt_is_hidden_wherever_it_stands() -> None:
    sink = Redactor()
    sink.learn("s3cret/word", "abc")
    assert sink("x s3cret/word y s3cret%2Fword abc") == "x <redacted> y <redacted> abc"
    assert "s3cret" not in repr(sink)
