"""T10: an image that is pushed to the embedded registry is believed in nothing."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin
from tests.registry_server import (
    MANIFEST,
    Served,
    collect,
    descriptor,
    digest_of,
    encode,
    serving,
)

pytestmark = [pytest.mark.root, pytest.mark.registry]

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture
def served(tiffin: Tiffin) -> Iterator[Served]:
    with serving(tiffin) as server:
        yield server
        (image,) = tiffin.ok("images", "-q").split()  # the busybox that was there
        assert image
        assert tiffin.ok("run", "--rm", "--network", "none", "busybox", "echo", "whole") == "whole"
        server.stop()
        collect(tiffin)
        assert len(layers_of(tiffin)) == 1
        assert len(list((tiffin.root / "oci/blobs/sha256").iterdir())) == 3
        assert list((tiffin.root / "staging").iterdir()) == []


def layers_of(tiffin: Tiffin) -> list[Path]:
    """The unpacked layers in an engine's store."""
    return [path for path in (tiffin.root / "layers").iterdir() if len(path.name) == 64]


def tar(name: str, data: bytes) -> bytes:
    from tests.integration.images.archives import tar as make

    return make({name: data})


def push(served: Served, blobs: list[bytes], diff_ids: list[str], **changed: Any) -> Any:
    """Push an image of these layers under `bad:1`; its answer."""
    config = encode(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    )
    for data in (config, *blobs):
        served.push_blob("bad", data)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config, CONFIG),
        "layers": [descriptor(data, LAYER) for data in blobs],
    }
    return served.push_manifest("bad", "1", {**document, **changed})


def test_a_layer_with_another_diff_id_is_refused(served: Served) -> None:
    plain = tar("a", b"1")
    answer = push(served, [gzip.compress(plain)], [digest_of(b"something else")])
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_layer_that_claims_to_be_one_that_is_here_is_refused(served: Served, tiffin: Tiffin) -> None:
    (here,) = layers_of(tiffin)
    answer = push(served, [gzip.compress(tar("bin/sh", b"evil"))], [f"sha256:{here.name}"])
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert "does not match its diff_id" in answer.document["errors"][0]["message"]


def test_the_same_layer_compressed_otherwise_is_taken(served: Served, tiffin: Tiffin) -> None:
    (here,) = layers_of(tiffin)
    blob = served("GET", "/v2/busybox/manifests/latest").document["layers"][0]["digest"]
    data = gzip.compress(gzip.decompress(served("GET", f"/v2/busybox/blobs/{blob}").body), 1)
    assert push(served, [data], [f"sha256:{here.name}"]).status == 201
    tiffin.ok("rmi", "bad:1")


@pytest.mark.parametrize("layers", [0, 2])
def test_a_config_of_other_layers_is_refused(served: Served, layers: int) -> None:
    plain = tar("a", b"1")
    answer = push(served, [gzip.compress(plain)] * layers, [digest_of(plain)])
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_what_is_no_tar_is_refused(served: Served) -> None:
    noise = bytes(range(256)) * 64
    for data in (noise, gzip.compress(noise), gzip.compress(tar("a", b"1" * 4096))[:-40]):
        answer = push(served, [data], [digest_of(data)])
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_layer_whose_names_lead_out_is_refused_or_confined(served: Served, tiffin: Tiffin) -> None:
    plain = tar("../../../../canary", b"out")
    answer = push(served, [gzip.compress(plain)], [digest_of(plain)])
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert not list(tiffin.root.parent.rglob("canary"))


def test_a_size_that_is_not_the_blobs_is_refused(served: Served) -> None:
    plain = tar("a", b"1")
    data = gzip.compress(plain)
    for wrong in (len(data) - 1, len(data) + 1, 0):
        answer = push(served, [data], [digest_of(plain)], layers=[{**descriptor(data, LAYER), "size": wrong}])
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_config_that_is_none_is_refused(served: Served) -> None:
    for config in (b"[]", b"{}", b'{"rootfs":{"diff_ids":["sha256:../x"]}}', b"\xff"):
        served.push_blob("bad", config)
        document = {"schemaVersion": 2, "config": descriptor(config, CONFIG), "layers": []}
        answer = served.push_manifest("bad", "1", document)
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_layer_that_never_ends_is_refused(served: Served) -> None:
    sparse = io.BytesIO()
    with gzip.GzipFile(fileobj=sparse, mode="wb", compresslevel=9) as out:
        header = bytearray(tar("zeros", b"")[:512])
        header[124:136] = b"%011o\0" % (8 << 30)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        out.write(bytes(header))
        for _ in range(256):
            out.write(bytes(1 << 20))
    answer = push(served, [sparse.getvalue()], [digest_of(b"whatever")])
    assert answer.status in (400, 413)
