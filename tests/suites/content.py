"""What every ContentStore must do: subclass `ContentSuite` as a test class that provides the fixture `store`."""

import hashlib
import threading
from pathlib import Path

import pytest

from tiffin.content.store import ContentStore
from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, NotFound

DATA = b"one blob" * 1000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


class ContentSuite:
    def test_a_committed_blob_is_found_by_its_digest(self, store: ContentStore) -> None:
        with store.writer() as blob:
            blob.write(DATA[:10])
            blob.write(memoryview(DATA)[10:])
            assert blob.commit() == (DIGEST, len(DATA))
        assert store.exists(DIGEST)
        assert store.size(DIGEST) == len(DATA)
        assert store.read_bytes(DIGEST, len(DATA)) == DATA
        with store.open(DIGEST) as file:
            assert file.read(8) == b"one blob"
        assert list(store.digests()) == [DIGEST]

    def test_a_blob_left_without_commit_never_was(self, store: ContentStore) -> None:
        with store.writer() as blob:
            blob.write(DATA)
        assert not store.exists(DIGEST)
        assert list(store.digests()) == []

    def test_a_blob_that_is_not_what_was_expected_is_refused_and_forgotten(self, store: ContentStore) -> None:
        other = "sha256:" + "0" * 64
        for digest, size in ((other, -1), (DIGEST, 7)):
            with pytest.raises(Corrupt), store.writer() as blob:
                blob.write(DATA)
                blob.commit(digest, size)
        assert list(store.digests()) == []

    def test_committing_a_blob_again_keeps_the_first(self, store: ContentStore) -> None:
        assert store.put_bytes(DATA) == store.put_bytes(DATA) == DIGEST
        with store.writer() as blob:
            blob.write(DATA)
            assert blob.commit(DIGEST, len(DATA)) == (DIGEST, len(DATA))
        assert list(store.digests()) == [DIGEST]

    def test_an_absent_blob_is_not_found_and_deleting_it_is_no_error(self, store: ContentStore) -> None:
        for ask in (store.size, store.open, lambda digest: store.read_bytes(digest, 9)):
            with pytest.raises(NotFound):
                ask(DIGEST)
        store.delete(DIGEST)
        store.put_bytes(DATA)
        store.delete(DIGEST)
        assert not store.exists(DIGEST)

    def test_reading_whole_is_bounded(self, store: ContentStore) -> None:
        store.put_bytes(DATA)
        with pytest.raises(LimitExceeded):
            store.read_bytes(DIGEST, len(DATA) - 1)

    @pytest.mark.parametrize(
        "text", ["sha256:../x", "../x", "sha256:" + "A" * 64, "sha256:" + "a" * 64 + "\n", ""]
    )
    def test_what_is_no_digest_never_becomes_a_path(self, store: ContentStore, text: str) -> None:
        for ask in (store.exists, store.size, store.open, store.delete):
            with pytest.raises(InvalidArgument):
                ask(text)

    def test_many_threads_write_at_once(self, store: ContentStore) -> None:
        def write(number: int) -> None:
            for step in range(10):
                store.put_bytes(b"%d" % ((number + step) % 12))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(store.digests()) == {"sha256:" + hashlib.sha256(b"%d" % n).hexdigest() for n in range(12)}

    def test_a_file_is_adopted_once_and_keeps_its_name(self, store: ContentStore, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(DATA)
        store.adopt(str(file), DIGEST)
        store.adopt(str(file), DIGEST)
        assert file.exists()
        assert store.read_bytes(DIGEST, len(DATA)) == DATA
        with pytest.raises(InvalidArgument):
            store.adopt(str(file), "sha256:../x")

    def test_a_blob_that_broke_off_goes_on_where_it_was(self, store: ContentStore) -> None:
        data = DATA * 20
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with pytest.raises(ConnectionError), store.resume(digest) as blob:
            assert blob.kept == 0
            blob.write(data[:100_000])
            raise ConnectionError
        assert not store.exists(digest)
        with store.resume(digest) as blob:
            assert blob.kept == 100_000
            while piece := blob.read_kept(30_000):
                blob.write(piece)
            blob.write(data[100_000:])
            assert blob.commit(digest, len(data)) == (digest, len(data))
        assert store.read_bytes(digest, len(data)) == data
        with store.resume(digest) as blob:
            assert blob.kept == 0

    def test_a_kept_beginning_is_hashed_again(self, store: ContentStore) -> None:
        digest = "sha256:" + hashlib.sha256(DATA * 20).hexdigest()
        with pytest.raises(ConnectionError), store.resume(digest) as blob:
            blob.write(b"something else" * 10_000)
            raise ConnectionError
        with pytest.raises(Corrupt, match="does not match its digest"), store.resume(digest) as blob:
            while piece := blob.read_kept(1 << 20):
                blob.write(piece)
            blob.write((DATA * 20)[140_000:])
            blob.commit(digest, len(DATA * 20))
        with store.resume(digest) as blob:
            assert blob.kept == 0  # what was wrong is not kept for another attempt

    def test_a_beginning_can_be_thrown_away(self, store: ContentStore) -> None:
        digest = "sha256:" + hashlib.sha256(DATA * 20).hexdigest()
        with pytest.raises(ConnectionError), store.resume(digest) as blob:
            blob.write((DATA * 20)[:100_000])
            raise ConnectionError
        with store.resume(digest) as blob:
            blob.write(b"half of it")
            blob.restart()
            assert blob.read_kept(10) == b""
            blob.write(DATA * 20)
            blob.commit(digest)
        with pytest.raises(ConnectionError), store.resume(DIGEST) as blob:
            blob.write(bytes(100_000))
            blob.discard()
            raise ConnectionError
        with store.resume(DIGEST) as blob:
            assert blob.kept == 0
