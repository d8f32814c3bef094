"""What a repository says, and what is made of it when it is strange."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile_registry import Answer, Hostile
from tests.registries import make_tls
from tests.unit.registry.support import (
    blob_of,
    client_of,
    digest_of,
    manifest_answer,
    manifest_of,
    read_all,
)
from tiffin.config import RegistrySettings
from tiffin.errors import (
    Corrupt,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TransferError,
    Unauthorized,
    Unsupported,
)
from tiffin.oci.descriptor import DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor, parse_document
from tiffin.registry.client import Registry

MANIFEST_1 = manifest_of(b"layer")


@pytest.fixture
def server() -> Iterator[Hostile]:
    with Hostile() as found:
        yield found


@pytest.fixture
def client() -> Iterator[Registry]:
    with client_of() as found:
        yield found


def errors(status: int, code: str, message: str = "") -> Answer:
    return Answer(status, {}, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


def test_resolving_asks_by_head_alone(server: Hostile, client: Registry) -> None:
    server.on(
        "HEAD",
        "/v2/a/manifests/1",
        manifest_answer(MANIFEST_1, **{"Docker-Content-Digest": digest_of(MANIFEST_1)}),
    )
    found = client.repository(f"{server.host}/a").resolve("1")
    assert found == Descriptor(MANIFEST, digest_of(MANIFEST_1), len(MANIFEST_1))
    assert [seen.method for seen in server.seen] == ["HEAD"]
    assert MANIFEST in server.seen[0].headers["accept"]
    assert server.seen[0].headers["user-agent"].startswith("tiffin/")


@pytest.mark.parametrize(
    "head",
    [
        Answer(405),
        Answer(200),
        manifest_answer(MANIFEST_1),
        manifest_answer(MANIFEST_1, **{"Docker-Content-Digest": "md5:x"}),
        Answer(
            200, {"Docker-Content-Digest": digest_of(MANIFEST_1), "Content-Type": "text/html"}, MANIFEST_1
        ),
        Answer(200, {"Docker-Content-Digest": digest_of(MANIFEST_1), "Content-Type": MANIFEST}, length=-1),
        Answer(
            200, {"Docker-Content-Digest": digest_of(MANIFEST_1), "Content-Type": MANIFEST}, length=1 << 40
        ),
    ],
)
def test_a_head_that_says_too_little_is_followed_by_get(
    server: Hostile, client: Registry, head: Answer
) -> None:
    server.on("HEAD", ".*", head)
    server.on("GET", ".*", manifest_answer(MANIFEST_1))
    assert client.repository(f"{server.host}/a").resolve("1").digest == digest_of(MANIFEST_1)


@pytest.mark.parametrize("stated", ["", "application/json", "application/json; charset=utf-8", "text/plain"])
def test_a_manifest_without_a_media_type_says_itself_what_it_is(
    server: Hostile, client: Registry, stated: str
) -> None:
    docker = MANIFEST_1.replace(MANIFEST.encode(), DOCKER_MANIFEST.encode())
    bare = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    for data, expected in ((MANIFEST_1, MANIFEST), (docker, DOCKER_MANIFEST), (bare, INDEX)):
        server._rules.clear()
        server.on("GET", ".*", Answer(200, {"Content-Type": stated} if stated else {}, data))
        assert client.repository(f"{server.host}/a").manifest("1").descriptor.media_type == expected


def test_a_wrong_media_type_is_found_by_who_parses(server: Hostile, client: Registry) -> None:
    """T10 from afar: both a list and an image, and an image that was sent as a list."""
    both = json.dumps({**json.loads(MANIFEST_1), "manifests": []}).encode()
    for data, stated in ((both, MANIFEST), (both, INDEX), (MANIFEST_1, INDEX), (MANIFEST_1, "text/html")):
        server._rules.clear()
        server.on("GET", ".*", Answer(200, {"Content-Type": stated}, data))
        found = client.repository(f"{server.host}/a").manifest("1")
        with pytest.raises((Corrupt, Unsupported)):
            parse_document(found.data, found.descriptor.media_type)


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b"\xff"])
def test_nonsense_without_a_media_type_is_refused(server: Hostile, client: Registry, data: bytes) -> None:
    server.on("GET", ".*", Answer(200, {}, data))
    with pytest.raises(Corrupt):
        client.repository(f"{server.host}/a").manifest("1")


def test_schema_1_is_refused_with_a_clear_word(server: Hostile, client: Registry) -> None:
    old = json.dumps({"schemaVersion": 1, "name": "a", "tag": "1"}).encode()
    for stated in (
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/json",
    ):
        server._rules.clear()
        server.on("GET", ".*", Answer(200, {"Content-Type": stated}, old))
        with pytest.raises(Unsupported, match="an image of Docker's schema 1"):
            client.repository(f"{server.host}/a").manifest("1")


UNKNOWN = "^manifest for N:1 not found: manifest unknown"
LOGIN = "^unauthorized: authentication required; run 'tiffin login H'$"
QUOTA = "You have reached your pull rate limit."
DENIED = "requested access to the resource is denied"
MAY_LOGIN = (
    f"^pull access denied for N, repository does not exist or may require 'tiffin login': denied: {DENIED}$"
)
REFUSALS = [
    (errors(404, "MANIFEST_UNKNOWN", "manifest unknown"), NotFound, f"{UNKNOWN}: manifest unknown$"),
    (Answer(404), NotFound, f"{UNKNOWN}$"),
    (Answer(404, {"Content-Type": "text/html"}, b"<html>no"), NotFound, f"{UNKNOWN}$"),
    (errors(404, "NAME_UNKNOWN", "who?"), NotFound, r"^repository N not found: name unknown: who\?$"),
    (errors(403, "DENIED", DENIED), PermissionDenied, MAY_LOGIN),
    (errors(401, "DENIED"), PermissionDenied, "^pull access denied"),
    (errors(401, "UNAUTHORIZED", "authentication required"), Unauthorized, LOGIN),
    (Answer(401), Unauthorized, LOGIN),
    (errors(429, "TOOMANYREQUESTS", QUOTA), TransferError, f"^toomanyrequests: {QUOTA}$"),
    (errors(400, "NAME_INVALID", "bad"), InvalidArgument, "answered 400: name invalid: bad$"),
    (errors(418, "TEAPOT", "a\nb\x1b[31m"), TransferError, r"answered 418: teapot: a\?b\?\[31m$"),
    (Answer(503, {}, b"over capacity"), TransferError, "answered 503: over capacity$"),
    (Answer(200, {"Docker-Content-Digest": digest_of(b"x")}, b"y"), Corrupt, "but the registry says"),
]


@pytest.mark.parametrize(("answer", "kind", "said"), REFUSALS)
def test_a_refusal_is_told_in_dockers_words(
    server: Hostile, client: Registry, answer: Answer, kind: type[Exception], said: str
) -> None:
    server.on("*", ".*", answer)
    name = f"{server.host}/a"
    with pytest.raises(kind, match=said.replace("N", name, 1).replace("login H", f"login {server.host}")):
        client.repository(name).manifest("1")


def test_docker_hub_is_named_as_people_do() -> None:
    settings = RegistrySettings()
    with Hostile() as server:
        server.on("*", ".*", Answer(404))
        with client_of(settings=settings._replace(mirrors={"docker.io": (server.url,)})) as client:
            repository = client.repository("docker.io/library/alpine")
            assert repository.name == "docker.io/library/alpine"
            with pytest.raises(NotFound, match="manifest for alpine:1 not found"):
                repository._manifest(repository._pulls.sessions()[0], "1", 100)  # the mirror's own answer
        assert server.seen[0].path == "/v2/library/alpine/manifests/1"


@pytest.mark.parametrize(
    "reference", ["", "a b", "a/b", "../x", "sha256:x", "x" * 200, "a\n", "latest?x=y", "-x"]
)
def test_a_reference_that_is_none_asks_nobody(server: Hostile, client: Registry, reference: str) -> None:
    repository = client.repository(f"{server.host}/a")
    for work in (repository.resolve, repository.manifest, repository.delete_manifest):
        with pytest.raises(InvalidArgument):
            work(reference)
    with pytest.raises(InvalidArgument):
        repository.put_manifest(reference, b"{}", MANIFEST)
    with pytest.raises(InvalidArgument):
        repository.has_blob(reference)
    assert not server.seen


@pytest.mark.parametrize("name", ["a/b:1", "docker.io/a@sha256:" + "0" * 64, "UPPER/x y", ""])
def test_a_name_with_more_than_a_repository_is_refused(client: Registry, name: str) -> None:
    with pytest.raises(InvalidArgument):
        client.repository(name)


def test_tags_come_page_by_page_and_strange_ones_are_left_out(server: Hostile, client: Registry) -> None:
    server.on(
        "GET",
        "/v2/a/tags/list",
        Answer(200, {"Link": '</v2/a/tags/list?last=b>; rel="next"'}, b'{"tags":["a","b"]}'),
    )
    server.on("GET", "/v2/a/tags/list.last=b", Answer(200, {}, b'{"tags":["c",7,"../x","\\u001b[31m",""]}'))
    server.on("GET", "/v2/none/tags/list", Answer(200, {}, b'{"name":"none","tags":null}'))
    server.on("GET", "/v2/odd/tags/list", Answer(200, {}, b'{"tags":"abc"}'))
    assert list(client.repository(f"{server.host}/a").tags()) == ["a", "b", "c"]
    assert list(client.repository(f"{server.host}/none").tags()) == []
    with pytest.raises(TransferError, match="no list of tags"):
        list(client.repository(f"{server.host}/odd").tags())


@pytest.mark.parametrize("code", ["MANIFEST_BLOB_UNKNOWN", "DIGEST_INVALID"])
def test_a_manifest_whose_blobs_a_registry_does_not_see_yet_is_put_again(
    server: Hostile, client: Registry, code: str
) -> None:
    """Debian's docker-registry answers so while another client's push of the same blobs is being stored."""
    unseen = Answer(400, {}, b'{"errors":[{"code":"%b","message":"not here"}]}' % code.encode())
    server.on("PUT", "/v2/a/manifests/1", unseen, unseen, Answer(201))
    client.repository(f"{server.host}/a").put_manifest("1", MANIFEST_1, MANIFEST)
    assert len(server.seen) == 3
    server.on("PUT", "/v2/a/manifests/2", unseen)
    with pytest.raises((Corrupt, TransferError), match="not here"):
        client.repository(f"{server.host}/a").put_manifest("2", MANIFEST_1, MANIFEST)
    assert len(server.seen) == 7


def test_mirrors_are_asked_first_and_passed_over(server: Hostile) -> None:
    data = b"blob"
    with Hostile() as empty, Hostile() as sick:
        sick.on("*", ".*", Answer(500))
        server.on("*", "/v2/a/manifests/1", manifest_answer(MANIFEST_1))
        server.on("GET", "/v2/a/blobs/.*", Answer(200, body=data))
        server.on("PUT", ".*", Answer(201))
        dead = "http://127.0.0.1:1"
        settings = RegistrySettings(mirrors={server.host: (dead, empty.url, sick.url)})
        with client_of(settings=settings) as client:
            repository = client.repository(f"{server.host}/a")
            assert repository.resolve("1").digest == digest_of(MANIFEST_1)
            assert read_all(repository.open_blob(blob_of(data))) == data
            assert empty.seen
            assert sick.seen
            asked = len(empty.seen) + len(sick.seen)
            repository.put_manifest("2", MANIFEST_1, MANIFEST)
            assert len(empty.seen) + len(sick.seen) == asked
        settings = RegistrySettings(mirrors={server.host: (dead, empty.url)})
        with (
            client_of(settings=settings) as client,
            pytest.raises(NotFound, match="manifest unknown"),
        ):
            client.repository(f"{server.host}/b").manifest(digest_of(b"none"))


def test_a_blob_goes_on_at_the_registry_when_its_mirror_ends(server: Hostile) -> None:
    data = bytes(range(256)) * 4096
    server.on("GET", ".*", lambda seen: ranged(data, seen.headers["range"]))
    with Hostile() as mirror:
        mirror.on("GET", ".*", Answer(200, body=data, cut=300_000, then="reset"), Answer(404))
        with client_of(settings=RegistrySettings(mirrors={server.host: (mirror.url,)})) as client:
            assert read_all(client.repository(f"{server.host}/a").open_blob(blob_of(data)), 50_000) == data
    assert len(server.seen) == 1


def ranged(data: bytes, header: str) -> Answer:
    start = int(header.removeprefix("bytes=").removesuffix("-"))
    return Answer(206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:])


def test_a_registry_without_ranges_says_that_it_begins_at_0(server: Hostile, client: Registry) -> None:
    data = b"0123456789"
    server.on("GET", ".*", Answer(416), Answer(200, body=data))
    with client.repository(f"{server.host}/a").open_blob(blob_of(data), 5) as stream:
        assert stream.offset == 0
        assert stream.read(100) == data
        assert stream.read() == b""
        assert stream.read() == b""
    with client.repository(f"{server.host}/a").open_blob(blob_of(data), 10) as stream:
        assert (stream.offset, stream.read()) == (10, b"")
    assert len(server.seen) == 2


def test_an_answer_that_breaks_off_is_asked_for_again(server: Hostile) -> None:
    cut = Answer(200, {"Content-Type": MANIFEST}, MANIFEST_1, cut=50, then="reset")
    tags = Answer(200, {}, b'{"tags":["a"]}')
    server.on("GET", "/v2/a/manifests/1", cut, cut, manifest_answer(MANIFEST_1))
    server.on("GET", "/v2/a/manifests/2", cut)
    server.on("GET", "/v2/a/tags/list", tags._replace(cut=5, then="close"), tags)
    with client_of() as client:
        repository = client.repository(f"{server.host}/a")
        assert repository.manifest("1").data == MANIFEST_1
        assert list(repository.tags()) == ["a"]
        with pytest.raises(TransferError):
            repository.manifest("2")
    assert len(server.requests(path="/v2/a/manifests/2")) == 4


def test_connections_are_kept_and_shared_by_threads(server: Hostile, client: Registry) -> None:
    server.on("GET", ".*", Answer(200, body=b"x" * 100_000))
    blob = blob_of(b"x" * 100_000)
    ports: set[int] = set()
    real = server._server.finish_request

    def counted(request, address):
        ports.add(address[1])
        real(request, address)

    server._server.finish_request = counted  # type: ignore[method-assign] # counts connections
    repository = client.repository(f"{server.host}/a")

    def work() -> None:
        for _ in range(20):
            assert len(read_all(repository.open_blob(blob))) == blob.size

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.seen) == 80
    assert len(ports) < 20


def test_a_closed_client_ends_what_waits(server: Hostile) -> None:
    from tests.unit.registry.support import Memory

    server.on("GET", ".*", Answer(503, {"Retry-After": "50"}))
    failed: list[BaseException] = []
    with Registry(RegistrySettings(), Memory()) as client:

        def work() -> None:
            try:
                client.repository(f"{server.host}/a").manifest("1")
            except TransferError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while not server.seen:
            pass
    thread.join(10)
    assert not thread.is_alive()
    assert "broken off from here" in str(failed[0])


@pytest.mark.parametrize("tls", [False, True])
def test_a_stream_that_is_aborted_gives_nothing_more(tmp_path: Path, tls: bool) -> None:
    data = bytes(1 << 20)
    with Hostile(make_tls(tmp_path) if tls else None) as server, client_of(stall=60) as client:
        server.on("GET", ".*", Answer(200, {}, data, cut=500_000, then="stall"))
        stream = client.repository(f"{server.host}/a").open_blob(blob_of(data))
        while stream.position < 500_000:
            stream.read(500_000 - stream.position)
        failed: list[Exception] = []
        begun = threading.Event()

        def work() -> None:
            begun.set()
            try:
                stream.read(1 << 20)
            except TransferError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        stream.abort()  # it waits for bytes, or is about to: both must end
        thread.join(10)
        assert not thread.is_alive()
        assert "broken off from here" in str(failed[0])
        with pytest.raises(TransferError, match="broken off from here"):
            stream.read(10)
        stream.close()
        assert len(server.seen) == 1


def test_referrers_come_from_the_api_or_from_their_tag(server: Hostile, client: Registry) -> None:
    subject = digest_of(MANIFEST_1)
    signature = json.dumps(
        {
            **json.loads(manifest_of(b"signature")),
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": len(MANIFEST_1)},
        }
    ).encode()
    entry = {
        "mediaType": MANIFEST,
        "digest": digest_of(signature),
        "size": len(signature),
        "artifactType": "x/y",
    }
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    server.on("GET", f"/v2/a/referrers/{subject}", Answer(200, {"Content-Type": INDEX}, index))
    server.on(
        "GET", f"/v2/b/manifests/{subject.replace(':', '-')}", Answer(200, {"Content-Type": INDEX}, index)
    )
    for name in ("a", "b"):
        found = client.repository(f"{server.host}/{name}").referrers(subject)
        assert [one.digest for one in found] == [digest_of(signature)]
    assert client.repository(f"{server.host}/c").referrers(subject) == []
    kept: list[bytes] = []

    def keep(seen):
        kept.append(seen.body)
        return Answer(201)

    server.on("PUT", "/v2/.*", keep)
    client.repository(f"{server.host}/c").put_manifest(digest_of(signature), signature, MANIFEST)
    assert kept[0] == signature
    listed = json.loads(kept[1])
    assert [one["digest"] for one in listed["manifests"]] == [digest_of(signature)]
    assert server.seen[-1].path == f"/v2/c/manifests/{subject.replace(':', '-')}"
    client.repository(f"{server.host}/b").put_manifest(digest_of(signature), signature, MANIFEST)
    assert len(kept) == 3  # it is listed already


def test_a_registry_that_lists_referrers_itself_is_left_to_it(server: Hostile, client: Registry) -> None:
    signature = json.dumps(
        {**json.loads(manifest_of(b"s")), "subject": blob_of(MANIFEST_1, MANIFEST).document()}
    ).encode()
    server.on("PUT", ".*", Answer(201, {"OCI-Subject": digest_of(MANIFEST_1)}))
    client.repository(f"{server.host}/a").put_manifest("1", signature, MANIFEST)
    assert len(server.seen) == 1


def test_searches_ask_v1_or_go_through_the_list(server: Hostile, client: Registry) -> None:
    results = [
        {"name": "one", "description": "d", "star_count": 5, "is_official": True, "is_automated": False},
        {"name": "two", "star_count": 50},
        {"name": None, "star_count": "x"},
        7,
    ]
    server.on("GET", "/v1/search[?]q=o&n=25", Answer(200, {}, json.dumps({"results": results}).encode()))
    found = client.search(server.host, "o")
    assert [(one.name, one.stars, one.official) for one in found] == [
        ("one", 5, True),
        ("two", 50, False),
        ("", 0, False),
    ]
    assert [one.name for one in client.search(server.host, "o", filters={"stars": ["10"]})] == ["two"]
    assert [one.name for one in client.search(server.host, "o", filters={"is-official": ["true"]})] == ["one"]
    with Hostile() as plain:
        plain.on("GET", "/v2/_catalog.*", Answer(200, {}, b'{"repositories":["team/Web","db"]}'))
        assert [one.name for one in client.search(plain.host, "web")] == ["team/Web"]
    for limit in (0, 101):
        with pytest.raises(InvalidArgument, match="outside the range"):
            client.search(server.host, "x", limit)
    for filters in ({"stars": ["x"]}, {"unknown": ["1"]}, {"is-official": ["maybe"]}):
        with pytest.raises(InvalidArgument, match="invalid filter"):
            client.search(server.host, "x", filters=filters)
