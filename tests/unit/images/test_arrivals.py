"""Blobs that wait for their manifest."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.images.engine import open_images
from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, NotFound
from tiffin.images import Images, arrivals
from tiffin.images.arrivals import Arrivals


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    opened = open_images(tmp_path)
    yield opened
    opened.store.close()


@pytest.fixture
def waiting(images: Images, clock: Clock) -> Iterator[Arrivals]:
    found = Arrivals(images.store, clock)
    yield found
    found.close()
    assert os.listdir(images.store.layout.staging) == []


def push(waiting: Arrivals, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    upload = waiting.begin()
    upload.write([data[:3], data[3:]])
    assert upload.finish(digest) == len(data)
    return digest


def test_a_blob_waits_until_it_is_moved_and_released(waiting: Arrivals, images: Images) -> None:
    digest = push(waiting, b"some data")
    assert waiting.size(digest) == 9
    assert not images.content.exists(digest)
    with waiting.open(digest) as file:
        assert file.read() == b"some data"
    with images.store.adding():
        assert waiting.move(digest, images.content)
        assert waiting.move(digest, images.content)
    assert waiting.release(digest)
    assert not waiting.release(digest)
    assert waiting.size(digest) == -1
    assert images.content.read_bytes(digest, 100) == b"some data"
    with images.store.adding():
        assert not waiting.move(digest, images.content)
    with pytest.raises(NotFound):
        waiting.open(digest)


def test_the_collector_leaves_it_and_sweeps_what_a_dead_server_left(
    waiting: Arrivals, images: Images
) -> None:
    digest = push(waiting, b"some data")
    assert images.collect() == 0
    assert waiting.size(digest) == 9
    os.close(os.dup(waiting._fd))  # a descriptor more or less is not the lock's end
    assert images.collect() == 0


def test_a_wrong_digest_keeps_nothing(waiting: Arrivals) -> None:
    upload = waiting.begin()
    upload.write([b"data"])
    with pytest.raises(Corrupt, match="does not match its digest"):
        upload.finish(f"sha256:{'0' * 64}")
    assert os.listdir(waiting._path) == []


def test_an_upload_goes_back_to_a_mark(waiting: Arrivals) -> None:
    upload = waiting.begin()
    upload.write([b"begin "])
    mark = upload.mark()
    upload.write([b"wrong, and longer"])
    upload.back(mark)
    upload.write([b"end"])
    assert upload.offset == 9
    digest = f"sha256:{hashlib.sha256(b'begin end').hexdigest()}"
    assert upload.finish(digest) == 9
    with waiting.open(digest) as file:
        assert file.read() == b"begin end"


def test_an_upload_is_discarded_once_or_twice(waiting: Arrivals) -> None:
    upload = waiting.begin()
    upload.write([b"data"])
    upload.discard()
    upload.discard()
    assert os.listdir(waiting._path) == []


def test_a_stored_blob_is_kept_beyond_its_image(waiting: Arrivals, images: Images) -> None:
    with images.store.adding():
        digest = images.content.put_bytes(b"of an image")
    path = f"{images.store.layout.oci}/blobs/sha256/{digest[7:]}"
    assert waiting.keep(digest, path)
    assert waiting.keep(digest, path)
    assert images.collect() == 1
    assert not images.content.exists(digest)
    with images.store.adding():
        assert waiting.move(digest, images.content)
    assert images.content.read_bytes(digest, 100) == b"of an image"
    assert not waiting.keep(f"sha256:{'0' * 64}", f"{path}x")


def test_what_nobody_asks_for_expires_once_nothing_arrives(waiting: Arrivals, clock: Clock) -> None:
    first = push(waiting, b"first")
    clock.now = 3000
    second = push(waiting, b"second")
    clock.now = 6000
    assert waiting.expire() == 0
    clock.now = 6601
    assert waiting.expire() == 2
    assert waiting.size(first) == waiting.size(second) == -1


def test_what_is_very_old_expires_also_while_others_arrive(waiting: Arrivals, clock: Clock) -> None:
    old = push(waiting, b"old")
    clock.now = 24 * 3600 + 1
    new = push(waiting, b"new")
    assert waiting.expire() == 1
    assert (waiting.size(old), waiting.size(new)) == (-1, 3)


def test_how_many_wait_is_bounded(waiting: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAITING_MAX", 2)
    push(waiting, b"one")
    push(waiting, b"two")
    with pytest.raises(LimitExceeded):
        push(waiting, b"three")
    push(waiting, b"two")
    assert len(os.listdir(waiting._path)) == 2


@pytest.mark.parametrize("digest", ["sha256:../x", "../x", "", "sha256:" + "a" * 64 + "\n"])
def test_what_is_no_digest_never_becomes_a_path(waiting: Arrivals, digest: str) -> None:
    for ask in (waiting.size, waiting.open, waiting.release):
        with pytest.raises(InvalidArgument):
            ask(digest)


def test_closing_twice_is_harmless(images: Images) -> None:
    found = Arrivals(images.store)
    push(found, b"data")
    found.close()
    found.close()
    assert os.listdir(images.store.layout.staging) == []
