"""T17: what was to be spoken over TLS is spoken over nothing less, and a digest means those bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile_registry import PUBLIC_ADDRESS, Answer, Hostile, Proxy, names
from tests.registries import make_tls
from tests.unit.registry.support import (
    blob_of,
    client_of,
    digest_of,
    manifest_answer,
    manifest_of,
    read_all,
    trusting,
)
from tiffin.config import RegistrySettings
from tiffin.errors import Corrupt, TiffinError, TransferError
from tiffin.oci.descriptor import MANIFEST
from tiffin.registry.credentials import Credential

ALICE = Credential("alice", "open sesame")


def test_a_tls_failure_is_followed_by_no_http_request(tmp_path: Path) -> None:
    """An unknown authority: over TLS nothing is asked, over http not even tried."""
    with Hostile(make_tls(tmp_path, "registry.example")) as server, Hostile() as plain:
        ports = {"registry.example": server.port}
        with names({"registry.example": [PUBLIC_ADDRESS]}), Proxy(ports) as proxy:
            environment = {"https_proxy": proxy.address, "http_proxy": plain.host}
            with client_of({"registry.example": ALICE}, environment=environment) as client:
                with pytest.raises(TransferError, match="certificate verify failed"):
                    client.repository("registry.example/a").manifest("1")
                with pytest.raises(TransferError, match="certificate verify failed"):
                    client.repository("registry.example/a").put_manifest("1", manifest_of(), MANIFEST)
                with pytest.raises(TransferError, match="certificate verify failed"):
                    client.check_login("registry.example", ALICE)
            assert {line.rpartition(" ")[0] for line in proxy.asked} == {"CONNECT registry.example:443"}
        assert not server.seen
        assert not plain.seen


def test_a_plain_server_where_tls_was_wanted_gets_no_request() -> None:
    with Hostile() as plain, names({"registry.example": ["127.0.0.1"]}), client_of() as client:
        with pytest.raises(TransferError, match=r"https://registry\.example"):
            client.repository(f"registry.example:{plain.port}/a").manifest("1")
        assert not plain.seen
        assert client.waits  # type: ignore[attr-defined] # a connection that ends may come back; tried as https only


def test_an_explicit_list_allows_http() -> None:
    with Hostile() as plain, names({"registry.example": ["127.0.0.1"]}):
        host = f"registry.example:{plain.port}"
        plain.on("GET", "/v2/a/manifests/1", manifest_answer(manifest_of()))
        with client_of(settings=RegistrySettings(insecure=(host,))) as client:
            assert client.repository(f"{host}/a").manifest("1").data == manifest_of()


def test_an_insecure_registry_that_answers_over_tls_is_not_asked_over_http(tmp_path: Path) -> None:
    """Its answer was no; http is for where there is no TLS."""
    with Hostile(make_tls(tmp_path)) as server, client_of() as client:
        with pytest.raises(TiffinError):
            client.repository(f"{server.host}/a").manifest("1")
        assert server.handshakes_failed == 0
        assert len(server.seen) == 1


def test_a_mirror_is_not_asked_over_less_than_its_url_says(tmp_path: Path) -> None:
    tls = make_tls(tmp_path, "registry.example")
    with Hostile(tls) as home, Hostile() as mirror, Proxy({"registry.example": home.port}) as proxy:
        home.on("GET", "/v2/a/manifests/1", manifest_answer(manifest_of()))
        url = f"https://mirror.example:{mirror.port}"
        settings = trusting(tmp_path, tls, "registry.example", mirrors={"registry.example": (url,)})
        addresses = {"registry.example": [PUBLIC_ADDRESS], "mirror.example": ["127.0.0.1"]}
        environment = {"https_proxy": proxy.address, "no_proxy": "mirror.example"}
        with names(addresses), client_of(settings=settings, environment=environment) as client:
            assert client.repository("registry.example/a").manifest("1").data == manifest_of()
        assert not mirror.seen


def test_other_bytes_than_the_digest_asked_for_are_refused() -> None:
    good, evil = manifest_of(), manifest_of(b"evil")
    with Hostile() as server, client_of() as client:
        repository = client.repository(f"{server.host}/a")
        server.on(
            "HEAD", ".*", Answer(200, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(evil)})
        )
        server.on("GET", ".*", manifest_answer(evil, **{"Docker-Content-Digest": digest_of(good)}))
        with pytest.raises(Corrupt, match="does not match its digest"):
            repository.manifest(digest_of(good))
        with pytest.raises(Corrupt):
            repository.resolve(digest_of(good))
        with pytest.raises(Corrupt, match="but the registry says"):
            repository.manifest("tag")


def test_the_header_is_never_believed_for_the_bytes() -> None:
    good, evil = manifest_of(), manifest_of(b"evil")
    with Hostile() as server, client_of() as client:
        headers = {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(good)}
        server.on("HEAD", ".*", Answer(200, headers, good))
        server.on("GET", ".*", Answer(200, headers, evil))
        repository = client.repository(f"{server.host}/a")
        found = repository.resolve("tag")
        assert found.digest == digest_of(good)
        with pytest.raises(Corrupt):
            repository.manifest(found.digest)


def test_a_manifest_that_the_registry_kept_differently_is_refused() -> None:
    with Hostile() as server, client_of() as client:
        server.on("PUT", ".*", Answer(201, {"Docker-Content-Digest": digest_of(b"other")}))
        with pytest.raises(Corrupt, match="the registry kept"):
            client.repository(f"{server.host}/a").put_manifest("1", manifest_of(), MANIFEST)


def test_a_mirror_with_other_bytes_is_passed_over() -> None:
    good, evil = manifest_of(), manifest_of(b"evil")
    with Hostile() as mirror, Hostile() as home:
        mirror.on("GET", "/v2/a/manifests/.*", manifest_answer(evil))
        mirror.on("GET", "/v2/a/blobs/.*", Answer(200, body=b"too long by far"))
        home.on("GET", "/v2/a/manifests/.*", manifest_answer(good))
        home.on("GET", "/v2/a/blobs/.*", Answer(200, body=b"data"))
        with client_of(settings=RegistrySettings(mirrors={home.host: (mirror.url,)})) as client:
            repository = client.repository(f"{home.host}/a")
            assert repository.manifest(digest_of(good)).data == good
            assert read_all(repository.open_blob(blob_of(b"data"))) == b"data"
        assert mirror.seen
