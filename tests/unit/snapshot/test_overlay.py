import os
from pathlib import Path

import pytest

from tests.suites.snapshot import A, B, C, SnapshotSuite, put_layer
from tiffin.errors import Corrupt
from tiffin.snapshot import Snapshots
from tiffin.snapshot.store import SnapshotStore
from tiffin.state import Store, locate, open_store


@pytest.fixture
def opened(tmp_path: Path) -> Store:
    return open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))


@pytest.fixture
def store(opened: Store) -> SnapshotStore:
    return Snapshots(opened)


def names(paths: tuple[str, ...]) -> list[str]:
    return [os.path.basename(path)[0] for path in paths]


class TestSnapshots(SnapshotSuite):
    def test_lower_directories_are_named_topmost_first(self, store: Snapshots) -> None:
        for layer in (A, B, C):
            put_layer(store, layer, {})
        mount = store.root_mount([A, B, C], "/u", "/w")
        assert (mount.type, mount.upper, mount.work, names(mount.lower)) == (
            "overlay",
            "/u",
            "/w",
            ["c", "b", "a"],
        )
        assert "nodev" in mount.options
        assert "ro" not in mount.options

    def test_a_layer_that_comes_twice_is_stacked_once_at_its_topmost_place(self, store: Snapshots) -> None:
        for layer in (A, B):
            put_layer(store, layer, {})
        assert names(store.root_mount([A, B, A]).lower) == ["a", "b"]

    def test_without_an_upper_the_mount_is_read_only(self, store: Snapshots) -> None:
        put_layer(store, A, {})
        assert "ro" in store.root_mount([A]).options
        assert "ro" in store.root_mount([A], "/u", "/w", readonly=True).options

    def test_no_layers_at_all_stand_on_an_empty_directory_that_is_no_layer(self, store: Snapshots) -> None:
        (lower,) = store.root_mount([], "/u", "/w").lower
        assert os.listdir(lower) == []
        assert list(store.diff_ids()) == []

    def test_the_upper_looks_like_the_root_of_the_top_layer(self, store: Snapshots, tmp_path: Path) -> None:
        put_layer(store, A, {})
        put_layer(store, B, {})
        os.chmod(store.layer_path(B), 0o1770)
        os.utime(store.layer_path(B), ns=(5, 7))
        upper, work = store.prepare_writable(str(tmp_path), [A, B])
        status = os.stat(upper)
        assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o1770, 7)
        assert os.path.isdir(work)
        assert store.prepare_writable(str(tmp_path), [A, B]) == (upper, work)

    def test_a_tree_without_a_row_is_taken_over_by_the_next_commit(
        self, store: Snapshots, opened: Store
    ) -> None:
        put_layer(store, A, {"x": b"1"})
        with opened.transaction() as db:
            db.execute("DELETE FROM layers")
        assert not store.has_layer(A)
        put_layer(store, A, {"x": b"1"})
        assert store.has_layer(A)

    def test_a_row_without_a_tree_is_no_layer(self, store: Snapshots) -> None:
        put_layer(store, A, {})
        os.rmdir(store.layer_path(A))
        assert not store.has_layer(A)
        with pytest.raises(Corrupt):
            store.layer_path(A)

    def test_the_size_of_an_adopted_tree_counts_each_inode_once_however_deep(
        self, store: Snapshots, opened: Store, tmp_path: Path
    ) -> None:
        upper = tmp_path / "root/staging/upper"
        upper.mkdir()
        (upper / "x").write_bytes(b"12345")
        (upper / "y").hardlink_to(upper / "x")
        (upper / "link").symlink_to("/etc/passwd")
        here = os.open(upper, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=here)
            deeper = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.truncate(f"/proc/self/fd/{here}/z", 10)
        os.close(here)
        store.adopt_upper(str(upper), C)
        assert opened.db.execute("SELECT size FROM layers").fetchone() == (15,)
        from tiffin.kernel.paths import remove_tree

        remove_tree(os.open(tmp_path / "root/layers", os.O_RDONLY), "c" * 64)  # deeper than pytest can remove

    def test_nothing_stays_in_staging(self, store: Snapshots, tmp_path: Path) -> None:
        put_layer(store, A, {"x": b"1"})
        put_layer(store, A, {"x": b"1"})
        with store.stage_layer() as staged:
            os.mkdir("left", dir_fd=staged.fd)
        staged.__exit__(None, None, None)
        assert os.listdir(tmp_path / "root/staging") == []
