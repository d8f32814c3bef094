"""Connections that break, clients that push the same thing at once, and a server that is killed."""

import gzip
import http.client
import os
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.integration.registry_server.conftest import staged
from tests.registry_server import MANIFEST, Served, collect, descriptor, digest_of, serving

pytestmark = [pytest.mark.root, pytest.mark.registry]


def wait_for(what: str, condition: "object") -> None:
    deadline = time.monotonic() + 30
    while not condition():  # type: ignore[operator] # a function without arguments
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.01)


def test_an_upload_that_breaks_off_goes_on_where_it_stopped(served: Served) -> None:
    data = os.urandom(3_000_000)
    where = served("POST", "/v2/up/blobs/uploads/").headers["location"]
    connection = served.connect()
    connection.putrequest("PATCH", where)
    connection.putheader("Content-Length", str(len(data)))
    connection.putheader("Content-Range", f"0-{len(data) - 1}")
    connection.endheaders()
    connection.send(data[:1_500_000])
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    arrived = int(served("GET", where).headers["range"].removeprefix("0-")) + 1
    assert 1 < arrived <= 1_500_000
    stated = f"{arrived}-{len(data) - 1}"
    assert served("PATCH", where, data[arrived:], Content_Range=stated).status == 202
    assert served("PUT", f"{where}?digest={digest_of(data)}").status == 201
    assert served("GET", f"/v2/up/blobs/{digest_of(data)}").body == data


def test_a_push_in_one_request_that_breaks_off_leaves_nothing(served: Served, tiffin: Tiffin) -> None:
    connection = served.connect()
    connection.putrequest("POST", f"/v2/up/blobs/uploads/?digest={digest_of(b'x' * 1000)}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    connection.send(b"x" * 500)
    wait_for("upload", lambda: len(staged(tiffin)) == 2)
    connection.close()
    wait_for("end of the upload", lambda: len(staged(tiffin)) == 1)


def test_many_push_the_same_blob_at_once(served: Served, tiffin: Tiffin) -> None:
    data = os.urandom(2_000_000)
    start = threading.Barrier(6)

    def push(_: int) -> str:
        start.wait()
        return served.push_blob("same", data)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(push, range(6))) == {digest_of(data)}
    assert served("GET", f"/v2/same/blobs/{digest_of(data)}").body == data
    assert len(staged(tiffin)) == 2  # the server's directory, and the blob


def test_many_push_the_same_image_at_once(served: Served, other: Tiffin) -> None:
    manifest = served("GET", "/v2/busybox/manifests/latest")
    parts = [manifest.document["config"], *manifest.document["layers"]]
    blobs = [served("GET", f"/v2/busybox/blobs/{part['digest']}").body for part in parts]
    with serving(other) as peer:

        def push(number: int) -> int:
            for data in blobs:
                peer.push_blob(f"copy{number}", data)
            return peer.push_manifest(f"copy{number}", "1", manifest.body).status

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(push, range(4))) == [201] * 4
    assert other.ok("images").count("copy") == 4
    assert other.ok("run", "--rm", "--network", "none", "copy3:1", "echo", "hi") == "hi"


def test_what_a_killed_server_had_is_swept_by_the_next_collection(tiffin: Tiffin) -> None:
    with serving(tiffin) as served:
        served.push_blob("x", b"whole and without a name")
        where = served("POST", "/v2/x/blobs/uploads/").headers["location"]
        served("PATCH", where, os.urandom(100_000))
        connection = served.connect()
        connection.putrequest("PATCH", where)
        connection.putheader("Content-Length", "5000000")
        connection.endheaders()
        connection.send(os.urandom(2_000_000))
        assert collect(tiffin) == 0
        assert len(staged(tiffin)) == 3
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
        connection.close()
    assert collect(tiffin) == 1
    assert staged(tiffin) == []
    (image,) = tiffin.ok("images", "-q").split()
    assert image


def test_an_end_in_the_middle_of_an_upload_is_in_order(tiffin: Tiffin) -> None:
    with serving(
        tiffin, impatience="from tiffin.registry.server import serve\nserve.GRACE_SECONDS = 0.5"
    ) as served:
        connection = served.connect()
        connection.putrequest("POST", f"/v2/up/blobs/uploads/?digest={digest_of(b'')}")
        connection.putheader("Content-Length", "5000000")
        connection.endheaders()
        connection.send(os.urandom(2_000_000))
        wait_for("upload", lambda: len(staged(tiffin)) == 2)
        assert served.stop() == 0
        connection.close()
    assert staged(tiffin) == []


def test_a_server_killed_at_any_moment_of_a_push_leaves_whole_images_and_nothing_else(
    tiffin: Tiffin, tmp_path: Path
) -> None:
    from tests.integration.images.archives import LAYER, config, tar
    from tests.integration.images.engine import open_images, verify

    chance = random.Random(7)
    named, whole_push = 0, 0.0
    for attempt in range(12):
        layers = [tar({f"file{n}": chance.randbytes(400_000)}) for n in range(3)]
        blobs = [gzip.compress(layer, 1) for layer in layers]
        document = config(layers)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(document, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(blob, LAYER) for blob in blobs],
        }
        with serving(tiffin) as served:
            began = time.monotonic()
            killer = threading.Timer(chance.random() * whole_push if attempt else 60, served.process.kill)
            killer.start()
            try:
                for data in (document, *blobs):
                    served.push_blob("box", data)
                assert served.push_manifest("box", str(attempt), manifest).status == 201
                named, whole_push = named + 1, max(whole_push, time.monotonic() - began)
            except (OSError, http.client.HTTPException):
                pass  # it is dead
            if not attempt:
                killer.cancel()
                served.process.kill()
            killer.join()
            served.process.wait()
        collect(tiffin)
        assert staged(tiffin) == []
        images = open_images(tiffin.root.parent)
        try:
            verify(images)
            assert images.collect() == 0
            whole = sum(
                name.startswith("docker.io/library/box:") for row in images.list() for name in row.names
            )
            assert whole >= named
        finally:
            images.store.close()
    assert named


def test_a_slow_reader_of_a_blob_that_is_removed_gets_all_of_it(served: Served, tiffin: Tiffin) -> None:
    layer = served("GET", "/v2/busybox/manifests/latest").document["layers"][0]
    connection = served.connect()
    connection.request("GET", f"/v2/busybox/blobs/{layer['digest']}")
    response: http.client.HTTPResponse = connection.getresponse()
    beginning = response.read(10)
    tiffin.ok("rmi", "busybox")
    assert served("HEAD", f"/v2/busybox/blobs/{layer['digest']}").status == 404
    assert digest_of(beginning + response.read()) == layer["digest"]
    connection.close()
