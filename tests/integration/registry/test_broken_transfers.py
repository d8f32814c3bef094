"""Wires that break, between the client and registries as they are: docker-registry, and the embedded one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.command import Tiffin
from tests.hostile_registry import Cutter
from tests.registries import docker_registry
from tests.registry_server import artifact, descriptor, encode, serving
from tests.unit.registry.support import blob_of, client_of, digest_of, read_all
from tiffin.errors import TransferError
from tiffin.oci.descriptor import LAYER_GZIP, MANIFEST
from tiffin.registry.client import Repository

pytestmark = [pytest.mark.registry, pytest.mark.root]

DATA = os.urandom(1 << 20) * 12
BLOB = blob_of(DATA)


@pytest.fixture(scope="module", params=["docker-registry", "embedded"])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared: Tiffin
) -> Iterator[str]:
    """HOST:PORT of a registry of either kind."""
    if request.param == "embedded":
        with serving(shared) as served:
            yield served.address
    else:
        with docker_registry(tmp_path_factory.mktemp("registry")) as registry:
            yield registry.host


def opened(offset: int, data: bytes = DATA) -> io.BytesIO:
    return io.BytesIO(data[offset:])


def image(repository: Repository, data: bytes) -> str:
    for one in (b"{}", data):
        repository.push_blob(blob_of(one), partial(opened, data=one))
    return repository.put_manifest("1", manifest_of(data), MANIFEST)


def manifest_of(data: bytes, **more: object) -> bytes:
    """Of something that is no image, with one layer."""
    return encode(artifact(layers=[descriptor(data, LAYER_GZIP)], **more))


def test_a_blob_comes_whole_over_a_wire_that_breaks(host: str) -> None:
    with client_of() as client:
        image(client.repository(f"{host}/broken/pull"), DATA)
    with Cutter(host, after=3 << 20, cuts=4) as wire, client_of() as client:
        stream = client.repository(f"{wire.address}/broken/pull").open_blob(BLOB)
        assert digest_of(read_all(stream, 1 << 18)) == BLOB.digest
        assert stream.resumed >= 3
    assert wire.cuts <= 1


def test_a_blob_goes_whole_over_a_wire_that_breaks(host: str) -> None:
    name = f"broken/push-{os.urandom(4).hex()}"
    data = os.urandom(1 << 20) + DATA
    blob = blob_of(data)
    sent: list[int] = []
    with Cutter(host, after=4 << 20, cuts=3) as wire, client_of() as client:
        repository = client.repository(f"{wire.address}/{name}")
        done = repository.push_blob(blob, lambda at: io.BytesIO(data[at:]), progress=sent.append)
        assert done == "pushed"
    assert wire.cuts == 0
    assert sent[-1] == blob.size
    with client_of() as client:
        assert digest_of(read_all(client.repository(f"{host}/{name}").open_blob(blob))) == blob.digest


def test_a_wire_that_always_breaks_is_given_up(host: str) -> None:
    with client_of() as client:
        image(client.repository(f"{host}/broken/pull"), DATA)
    with Cutter(host, after=2000, cuts=1000) as wire, client_of() as client:
        repository = client.repository(f"{wire.address}/broken/pull")
        data = os.urandom(8 << 20)
        with pytest.raises(TransferError):
            repository.push_blob(blob_of(data), lambda at: io.BytesIO(data[at:]))
    with Cutter(host, after=200, cuts=1000) as wire, client_of() as client, pytest.raises(TransferError):
        read_all(client.repository(f"{wire.address}/broken/pull").open_blob(BLOB))


def test_whole_in_pieces_and_mounted(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiffin.registry import uploads

    with client_of() as client:
        data = os.urandom(3_000_000)
        repository = client.repository(f"{host}/pieces/a")
        monkeypatch.setattr(uploads, "CHUNK", 1_000_001)
        monkeypatch.setattr(uploads.Upload, "_whole", lambda self, open_at, progress: False)
        assert repository.push_blob(blob_of(data), lambda at: io.BytesIO(data[at:])) == "pushed"
        image(repository, data)
        assert read_all(repository.open_blob(blob_of(data), 1_500_000)) == data[1_500_000:]
        other = client.repository(f"{host}/pieces/b")
        done = other.push_blob(blob_of(data), opened, mount_from=["pieces/a"])
        assert done in ("mounted:pieces/a", "exists")  # the embedded one has one store for all


def test_referrers_are_found_with_and_without_the_api(host: str) -> None:
    with client_of() as client:
        repository = client.repository(f"{host}/refers/a")
        subject = image(repository, b"layer")
        for kind in ("one", "two"):
            data = manifest_of(
                b"layer",
                artifactType=f"application/{kind}",
                annotations={"kind": kind},
                subject={"mediaType": MANIFEST, "digest": subject, "size": len(manifest_of(b"layer"))},
            )
            repository.put_manifest(digest_of(data), data, MANIFEST)
        found = repository.referrers(subject)
        assert sorted(one.annotations["kind"] for one in found) == ["one", "two"]
        assert repository.referrers(digest_of(b"nothing")) == []
