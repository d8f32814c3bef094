"""What every SnapshotStore must do: subclass `SnapshotSuite` as a test class that provides the fixture `store`."""

import os
from pathlib import Path

import pytest

from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded
from tiffin.snapshot.store import SnapshotStore

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def put_layer(store: SnapshotStore, diff_id: str, files: dict[str, bytes]) -> None:
    """Commit a layer of these files."""
    with store.stage_layer() as staged:
        for name, data in files.items():
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=staged.fd)
            os.write(fd, data)
            os.close(fd)
        staged.commit(diff_id, sum(map(len, files.values())))


class SnapshotSuite:
    def test_a_committed_layer_is_there_whole(self, store: SnapshotStore) -> None:
        put_layer(store, A, {"x": b"1"})
        assert store.has_layer(A)
        assert Path(store.layer_path(A), "x").read_bytes() == b"1"
        assert list(store.diff_ids()) == [A]

    def test_a_layer_left_without_commit_never_was(self, store: SnapshotStore) -> None:
        with pytest.raises(ZeroDivisionError), store.stage_layer() as staged:
            os.mkdir("d", dir_fd=staged.fd)
            raise ZeroDivisionError
        assert list(store.diff_ids()) == []

    def test_the_first_of_two_equal_layers_is_kept(self, store: SnapshotStore) -> None:
        put_layer(store, A, {"x": b"first"})
        put_layer(store, A, {"x": b"second"})
        assert Path(store.layer_path(A), "x").read_bytes() == b"first"

    def test_a_layer_root_is_open_to_the_users_of_a_container(self, store: SnapshotStore) -> None:
        before = os.umask(0o077)
        try:
            put_layer(store, A, {})
        finally:
            os.umask(before)
        assert os.stat(store.layer_path(A)).st_mode & 0o7777 == 0o755

    def test_a_missing_layer_is_named(self, store: SnapshotStore) -> None:
        put_layer(store, A, {})
        assert not store.has_layer(B)
        with pytest.raises(Corrupt, match=B):
            store.root_mount([A, B])

    @pytest.mark.parametrize("text", ["sha256:../../etc", "empty", "", "sha256:" + "a" * 63])
    def test_what_is_no_digest_never_becomes_a_path(self, store: SnapshotStore, text: str) -> None:
        for ask in (store.has_layer, store.layer_path, store.discard_layer):
            with pytest.raises(InvalidArgument):
                ask(text)
        with pytest.raises(InvalidArgument), store.stage_layer() as staged:
            staged.commit(text, 0)

    def test_too_many_layers_are_refused(self, store: SnapshotStore) -> None:
        with pytest.raises(LimitExceeded, match="501 layers"):
            store.root_mount([f"sha256:{number:064x}" for number in range(501)])

    def test_a_discarded_layer_is_gone_and_its_tree_waits(self, store: SnapshotStore) -> None:
        put_layer(store, A, {"x": b"1"})
        waiting = store.discard_layer(A)
        assert os.listdir(waiting) == ["x"]
        assert not store.has_layer(A)
        assert store.discard_layer(A) == ""

    def test_an_upper_becomes_a_layer(self, store: SnapshotStore, tmp_path: Path) -> None:
        directory = Path(store.layer_path(A)).parent if store.has_layer(A) else None
        assert directory is None
        put_layer(store, B, {"below": b""})
        work = Path(store.layer_path(B)).parent.parent / "staging" / "made"
        work.mkdir()
        upper, _ = store.prepare_writable(str(work), [B])
        Path(upper, "above").write_bytes(b"12345")
        store.adopt_upper(upper, A)
        assert store.has_layer(A)
        assert not os.path.exists(upper)
        assert os.listdir(store.layer_path(A)) == ["above"]
