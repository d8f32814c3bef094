"""Blobs on their way out, to registries that like them whole, in pieces, or not at once."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest

from tests.hostile_registry import Answer, Hostile, Seen
from tests.unit.registry.support import blob_of, client_of
from tiffin.errors import Corrupt, EngineError, LimitExceeded, PermissionDenied, TiffinError, TransferError
from tiffin.registry import uploads
from tiffin.registry.client import Repository

DATA = bytes(range(256)) * 8192  # 2 MiB
BLOB = blob_of(DATA)


class Store(Hostile):
    """A registry that takes uploads, and can be told to stumble: `stumbles` are answers, by method, that come before
    what it would do."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.blobs: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.stumbles: dict[str, list[Answer]] = {}
        self.cancelled = 0
        self.began = 0
        self.on("*", ".*", self.serve)

    def serve(self, seen: Seen) -> Answer:
        if self.stumbles.get(seen.method):
            return self.stumbles[seen.method].pop(0)
        found: Answer = getattr(self, f"on_{seen.method.lower()}")(seen)
        return found

    def on_head(self, seen: Seen) -> Answer:
        held = self.blobs.get(seen.path.rpartition("/")[2])
        return Answer(404) if held is None else Answer(200, body=held)

    def on_post(self, seen: Seen) -> Answer:
        self.data, self.began = b"", self.began + 1
        return Answer(202, {"Location": f"/up/{self.began}?state=a", **self.headers})

    def on_patch(self, seen: Seen) -> Answer:
        start = int(seen.headers["content-range"].partition("-")[0])
        if start != len(self.data):
            return Answer(416, {"Range": self.range()})
        self.data += seen.body
        return Answer(202, {"Location": f"/up/{self.began}?state={len(self.data)}", "Range": self.range()})

    def on_put(self, seen: Seen) -> Answer:
        self.data += seen.body
        digest = re.search(r"digest=sha256%3A([0-9a-f]+)", seen.path)
        assert digest is not None
        if blob_of(self.data).digest != f"sha256:{digest[1]}":
            return Answer(400, {}, b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}')
        self.blobs[f"sha256:{digest[1]}"] = self.data
        return Answer(201)

    def on_get(self, seen: Seen) -> Answer:
        return Answer(204, {"Range": self.range(), "Location": f"/up/{self.began}?state=got"})

    def on_delete(self, seen: Seen) -> Answer:
        self.cancelled += 1
        return Answer(204)

    def range(self) -> str:
        return f"0-{max(len(self.data) - 1, 0)}"

    def patches(self) -> list[str]:
        return [seen.headers["content-range"] for seen in self.requests("PATCH")]


@pytest.fixture
def store() -> Iterator[Store]:
    server = Store()
    with server:
        yield server


@pytest.fixture
def repository(store: Store) -> Iterator[Repository]:
    with client_of() as client:
        yield client.repository(f"{store.host}/a")


def opened(offset: int) -> io.BytesIO:
    return io.BytesIO(DATA[offset:])


def test_a_blob_goes_whole(store: Store, repository: Repository) -> None:
    steps: list[int] = []
    assert repository.push_blob(BLOB, opened, progress=steps.append) == "pushed"
    assert [seen.method for seen in store.seen] == ["HEAD", "POST", "PUT"]
    assert store.seen[-1].path.startswith("/up/1?state=a&digest=sha256%3A")
    assert steps[-1] == len(DATA)
    assert repository.push_blob(BLOB, opened) == "exists"


def test_an_empty_blob_is_a_blob(store: Store, repository: Repository) -> None:
    assert repository.push_blob(blob_of(b""), lambda at: io.BytesIO()) == "pushed"
    assert store.blobs == {blob_of(b"").digest: b""}


def test_a_registry_that_wants_pieces_of_a_size_gets_them(
    store: Store, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 600_000)
    store.headers = {"OCI-Chunk-Min-Length": "500000"}
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert store.patches() == ["0-599999", "600000-1199999", "1200000-1799999", "1800000-2097151"]
    store.headers = {"OCI-Chunk-Min-Length": "1000000"}
    store.blobs.clear()
    store.seen.clear()
    repository.push_blob(BLOB, opened)
    assert store.patches() == ["0-999999", "1000000-1999999", "2000000-2097151"]
    store.headers = {"OCI-Chunk-Min-Length": "9999999"}
    store.blobs.clear()
    store.seen.clear()
    repository.push_blob(BLOB, opened)
    assert store.patches() == []


@pytest.mark.parametrize("status", [400, 404, 405, 411, 413, 415, 416, 501])
def test_a_registry_that_does_not_like_it_whole_gets_pieces(
    store: Store, repository: Repository, status: int
) -> None:
    store.stumbles["PUT"] = [Answer(status)]
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert store.blobs[BLOB.digest] == DATA
    assert store.patches() == ["0-2097151"]
    assert (store.began, store.cancelled) == (2, 1)


def test_pieces_shrink_where_they_are_too_large(store: Store, repository: Repository) -> None:
    store.stumbles["PUT"] = [Answer(413)]
    store.stumbles["PATCH"] = [Answer(413), Answer(413)]
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert store.patches()[-2:] == ["0-1048575", "1048576-2097151"]
    store.blobs.clear()
    store.stumbles["PUT"] = [Answer(413)]
    store.stumbles["PATCH"] = [Answer(413)] * 5
    with pytest.raises(LimitExceeded):
        repository.push_blob(BLOB, opened)


def test_a_broken_put_is_gone_on_with_where_the_registry_stands(store: Store, repository: Repository) -> None:
    """What came of the broken one counts: 700,000 bytes are not sent again."""
    asked: list[int] = []

    def open_at(offset: int) -> io.BytesIO:
        asked.append(offset)
        return opened(offset)

    store.stumbles["PUT"] = [Answer(503)]
    store.on_get_real = store.on_get  # type: ignore[attr-defined] # one answer of ours before its own

    def stands(seen: Seen) -> Answer:
        store.data = DATA[:700_000]
        return Answer(204, {"Range": "0-699999", "Location": "/up/1?state=there"})

    store.on_get = stands  # type: ignore[method-assign] # as said
    assert repository.push_blob(BLOB, open_at) == "pushed"
    assert asked == [0, 700_000]
    assert store.patches() == ["700000-2097151"]
    assert store.blobs[BLOB.digest] == DATA


@pytest.mark.parametrize("then", ["reset", "close"])
def test_a_broken_patch_is_gone_on_with(store: Store, repository: Repository, then: str) -> None:
    """The bytes arrived, the answer did not."""
    store.stumbles["PUT"] = [Answer(405)]
    real = store.on_patch
    count = [0]

    def broken(seen: Seen) -> Answer:
        count[0] += 1
        if count[0] == 1:
            store.data += seen.body[:500_000]
            return Answer(202, {}, b"x" * 100, cut=0, length=-1, then=then)._replace(status=500)
        return real(seen)

    store.on_patch = broken  # type: ignore[method-assign] # once
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert store.patches() == ["0-2097151", "500000-2097151"]


def test_an_upload_that_the_registry_forgot_begins_anew(store: Store, repository: Repository) -> None:
    store.stumbles["PUT"] = [Answer(502)]
    store.stumbles["GET"] = [Answer(404)]
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert (store.began, store.cancelled) == (2, 0)


def test_a_commit_whose_answer_was_lost_is_a_commit(store: Store, repository: Repository) -> None:
    real = store.on_put

    def lost(seen: Seen) -> Answer:
        real(seen)
        return Answer(504)

    store.on_put = lost  # type: ignore[method-assign] # it did it, and says otherwise
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert store.cancelled == 0
    assert len(store.requests("PUT")) == 1


def test_a_registry_that_never_takes_it_is_given_up_and_left_clean(
    store: Store, repository: Repository
) -> None:
    store.stumbles["PUT"] = [Answer(503)] * 100
    store.stumbles["PATCH"] = [Answer(503)] * 100
    with pytest.raises(TransferError):
        repository.push_blob(BLOB, opened)
    assert store.cancelled == 1
    assert len(store.requests("PATCH")) < 10


@pytest.mark.parametrize("header", ["0-9999999999", "5-9", "x", "0-"])
def test_a_registry_that_claims_what_was_not_sent_is_refused(
    store: Store, repository: Repository, header: str
) -> None:
    store.stumbles["PUT"] = [Answer(405)]
    store.stumbles["PATCH"] = [Answer(202, {"Range": header})]
    with pytest.raises(TransferError, match="says that it has the bytes"):
        repository.push_blob(BLOB, opened)
    assert store.cancelled == 2


def test_a_piece_that_was_taken_in_part_is_gone_on_with(store: Store, repository: Repository) -> None:
    store.stumbles["PUT"] = [Answer(405)]
    real = store.on_patch

    def part(seen: Seen) -> Answer:
        return real(seen._replace(body=seen.body[:800_000]))

    store.on_patch = part  # type: ignore[method-assign] # takes no more at once
    assert repository.push_blob(BLOB, opened) == "pushed"
    assert store.patches() == ["0-2097151", "800000-2097151", "1600000-2097151"]


@pytest.mark.parametrize("taken", [0, 2, 1000])
def test_a_registry_that_takes_next_to_nothing_is_given_up(
    store: Store, repository: Repository, taken: int
) -> None:
    store.stumbles["PUT"] = [Answer(405)]
    real = store.on_patch
    store.on_patch = lambda seen: real(seen._replace(body=seen.body[:taken]))  # type: ignore[method-assign] # as said
    with pytest.raises(TransferError, match=f"took {taken} of"):
        repository.push_blob(BLOB, opened)
    assert len(store.requests("PATCH")) < 10
    assert store.cancelled == 2


def test_another_digest_there_is_corrupt(store: Store, repository: Repository) -> None:
    with pytest.raises(Corrupt, match="digest invalid: other bytes"):
        repository.push_blob(BLOB, lambda at: io.BytesIO(bytes(len(DATA) - at)))
    assert store.cancelled == 2, "it was tried once more from the start, and no more"
    assert not store.patches()


def test_a_registry_that_once_got_other_bytes_gets_them_again(store: Store, repository: Repository) -> None:
    sources = iter((bytes(len(DATA)), DATA))
    assert repository.push_blob(BLOB, lambda at: io.BytesIO(next(sources)[at:])) == "pushed"
    assert store.cancelled == 1


def test_a_source_with_too_few_bytes_is_corrupt_here(store: Store, repository: Repository) -> None:
    with pytest.raises(Corrupt, match="ends 1048576 bytes early here"):
        repository.push_blob(BLOB, lambda at: io.BytesIO(DATA[at : 1 << 20]))
    assert store.cancelled == 1


class Stopped(Exception):
    """Somebody's own."""


def test_what_the_callers_code_raises_comes_out_as_it_is(store: Store, repository: Repository) -> None:
    def stop(sent: int) -> None:
        raise Stopped

    def missing(offset: int) -> io.BytesIO:
        raise FileNotFoundError("gone")

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(Stopped):
        repository.push_blob(BLOB, opened, progress=stop)
    with pytest.raises(EngineError, match="cannot open blob"):
        repository.push_blob(BLOB, missing)
    with pytest.raises(EngineError, match="cannot read blob"):
        repository.push_blob(BLOB, lambda at: Broken())
    assert store.cancelled == store.began == 3


def test_what_is_opened_is_closed(store: Store, repository: Repository) -> None:
    files: list[io.BytesIO] = []

    def open_at(offset: int) -> io.BytesIO:
        files.append(opened(offset))
        return files[-1]

    store.stumbles["PUT"] = [Answer(405)]
    repository.push_blob(BLOB, open_at)
    assert len(files) == 2
    assert all(file.closed for file in files)


def test_a_mount_that_is_refused_is_an_upload(store: Store, repository: Repository) -> None:
    def mount(seen: Seen) -> Answer:
        if "from=there" in seen.path:
            return Answer(201)
        return Answer(403) if "from=closed" in seen.path else Store.on_post(store, seen)

    store.on_post = mount  # type: ignore[method-assign] # knows two repositories
    host = repository.registry
    assert repository.push_blob(BLOB, opened, mount_from=["closed", "other"]) == "pushed"
    assert (store.began, store.cancelled) == (1, 0)
    store.blobs.clear()
    assert (
        repository.push_blob(BLOB, opened, mount_from=["other", f"{host}/there"]) == f"mounted:{host}/there"
    )
    assert store.cancelled == 1
    assert repository.push_blob(BLOB, opened, mount_from=["a"]) == "pushed"  # itself is no source
    assert "mount=" not in store.requests("POST")[-1].path


@pytest.mark.parametrize(
    ("status", "kind"), [(403, PermissionDenied), (401, TiffinError), (404, TiffinError)]
)
def test_a_push_that_is_not_allowed_is_refused(
    store: Store, repository: Repository, status: int, kind: type[TiffinError]
) -> None:
    store.stumbles["POST"] = [Answer(status)]
    with pytest.raises(kind):
        repository.push_blob(BLOB, opened)
    assert not store.requests("PUT")


def test_a_begun_upload_without_a_location_is_an_error(store: Store, repository: Repository) -> None:
    store.stumbles["POST"] = [Answer(202)]
    with pytest.raises(TransferError, match="without a location"):
        repository.push_blob(BLOB, opened)
