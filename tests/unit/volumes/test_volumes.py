from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tiffin.state import Store, locate, open_store
from tiffin.volumes import Volumes, manager, parse_mount, parse_tmpfs, parse_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    yield opened
    opened.close()


@pytest.fixture
def volumes(store: Store) -> Volumes:
    return Volumes(store)


def test_a_volume_is_made_once_and_kept(volumes: Volumes) -> None:
    made = volumes.create("data", {"a": "b"})
    assert made.labels == {"a": "b"} and not made.anonymous
    assert os.stat(made.mountpoint).st_mode & 0o7777 == 0o755
    assert os.stat(os.path.dirname(made.mountpoint)).st_mode & 0o7777 == 0o700
    assert volumes.create("data", {"other": "label"}) == made
    assert volumes.known() == [made]


def test_a_volume_without_a_name_gets_one_of_64_digits(volumes: Volumes) -> None:
    made = volumes.create()
    assert made.anonymous and len(made.name) == 64 and int(made.name, 16) >= 0


@pytest.mark.parametrize("name", ["a", "../x", "a/b", "", " ", ".hidden", "a" * 256, "a\n"])
def test_names_stay_names(volumes: Volumes, name: str) -> None:
    if name:
        with pytest.raises(InvalidArgument):
            volumes.create(name)
        assert volumes.known() == []
    with pytest.raises(NotFound, match="no such volume"):
        volumes.remove(name)


def test_an_unknown_volume_is_refused_as_docker_words_it(volumes: Volumes) -> None:
    with pytest.raises(NotFound, match=r"^get nope: no such volume$"):
        volumes.inspect("nope")
    with pytest.raises(NotFound, match=r"^get nope: no such volume$"):
        volumes.remove("nope")
    volumes.remove("nope", force=True)


def test_removing_takes_the_files_and_a_later_volume_of_the_name_is_empty(
    volumes: Volumes, store: Store
) -> None:
    made = volumes.create("data")
    with open(f"{made.mountpoint}/file", "w") as file:
        file.write("x")
    volumes.remove("data")
    assert not os.path.exists(made.mountpoint) and os.listdir(store.layout.staging) == []
    assert os.listdir(volumes.create("data").mountpoint) == []


def test_a_volume_in_use_stays(volumes: Volumes) -> None:
    volumes.prepare("c1", [parse_volume("data:/a"), parse_volume("data:/b")])
    volumes.prepare("c2", [parse_volume("data:/a")])
    with pytest.raises(Conflict, match=r"^remove data: volume is in use - \[c1, c2\]$"):
        volumes.remove("data")
    assert volumes.users("data") == ["c1", "c2"]
    volumes.release("c1", anonymous=True)
    volumes.release("c2", anonymous=True)
    assert [volume.name for volume in volumes.known()] == ["data"]
    volumes.remove("data")


def test_mounts_are_prepared_with_their_sources(volumes: Volumes, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    bind, named, anonymous, memory = volumes.prepare(
        "c1",
        [
            parse_mount(f"type=bind,source={there},target=/bind,readonly"),
            parse_volume("data:/named:nocopy"),
            parse_volume("/anonymous"),
            parse_tmpfs("/memory"),
        ],
    )
    assert (bind.source, bind.volume, bind.options) == (str(there), "", ("rbind", "rprivate", "ro"))
    assert named.source == volumes.inspect("data").mountpoint and not named.copy and not named.anonymous
    assert anonymous.copy and anonymous.anonymous and os.path.isdir(anonymous.source)
    assert (memory.type, memory.source) == ("tmpfs", "")


def test_releasing_removes_anonymous_volumes_only_when_asked(volumes: Volumes) -> None:
    (kept,) = volumes.prepare("c1", [parse_volume("/a")])
    assert volumes.release("c1", anonymous=False) == []
    assert volumes.inspect(kept.volume)
    (gone,) = volumes.prepare("c2", [parse_volume("/a")])
    volumes.prepare("c3", [parse_volume(f"{kept.volume}:/a")])
    assert volumes.release("c2", anonymous=True) == [gone.volume]
    assert volumes.release("c2", anonymous=True) == []
    with pytest.raises(NotFound):
        volumes.inspect(gone.volume)


def test_an_anonymous_volume_that_another_uses_stays(volumes: Volumes) -> None:
    (shared,) = volumes.prepare("c1", [parse_volume("/a")])
    volumes.prepare("c2", [parse_volume(f"{shared.volume}:/a")])
    assert volumes.release("c1", anonymous=True) == []
    assert volumes.release("c2", anonymous=True) == [shared.volume]


def test_a_missing_source_is_made_for_v_and_refused_for_mount(volumes: Volumes, tmp_path: Path) -> None:
    missing = tmp_path / "a" / "b"
    with pytest.raises(
        InvalidArgument,
        match=f'^invalid mount config for type "bind": bind source path does not exist: {missing}$',
    ):
        volumes.prepare("c1", [parse_volume("data:/d"), parse_mount(f"type=bind,source={missing},target=/c")])
    assert volumes.known() == [], "nothing else was made either"
    volumes.prepare("c1", [parse_volume(f"{missing}:/c")])
    assert missing.is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidArgument, match="cannot make bind source"):
        volumes.prepare("c2", [parse_volume(f"{tmp_path}/file/below:/c")])
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(InvalidArgument, match="does not exist"):
        volumes.prepare("c2", [parse_volume(f"{tmp_path}/dangling:/c")])


def test_duplicate_targets_make_nothing(volumes: Volumes) -> None:
    with pytest.raises(Conflict, match="Duplicate mount point: /c"):
        volumes.prepare("c1", [parse_volume("/c"), parse_volume("data:/c")])
    assert volumes.known() == []


def test_relabelling_is_refused_where_selinux_is_and_nothing_elsewhere(
    volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_SELINUX", str(tmp_path / "enforce"))
    volumes.prepare("c1", [parse_volume("data:/c:z")])
    (tmp_path / "enforce").write_text("1")
    with pytest.raises(Unsupported, match="does not set SELinux labels"):
        volumes.prepare("c2", [parse_volume("data:/c:Z")])
