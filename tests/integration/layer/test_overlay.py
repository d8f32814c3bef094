"""Layers on a real overlay: what it shows after apply, and what diff makes of its upper."""

import contextlib
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.suites.archives import apply_to, archive, described, directory_fd, entry, read_all
from tiffin.errors import Unsupported
from tiffin.kernel.mounts import mount, umount
from tiffin.kernel.paths import AT_FDCWD, remove_tree
from tiffin.layer.diff import changes, diff_tar, drop_marks, tree_tar
from tiffin.layer.tarstream import Entry, Kind

pytestmark = pytest.mark.root


@contextlib.contextmanager
def overlay(tmp_path: Path, *layers: Path):
    """The layers, lowest first, under a writable upper: (merged, upper)."""
    upper, work, merged = (tmp_path / name for name in ("upper", "work", "merged"))
    for path in (upper, work, merged):
        path.mkdir()
    lower = ":".join(str(layer) for layer in reversed(layers))
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off"
    mount("overlay", str(merged), "overlay", 0, options)
    try:
        yield merged, upper
    finally:
        umount(str(merged))


def diff_of(upper: Path, *layers: Path) -> bytes:
    out = io.BytesIO()
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(directory_fd(layer)) for layer in reversed(layers)]
        with directory_fd(upper) as fd:
            diff_tar(fd, out, fds or None)
    return out.getvalue()


def changes_of(upper: Path, *layers: Path) -> list[str]:
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(directory_fd(layer)) for layer in reversed(layers)]
        with directory_fd(upper) as fd:
            return [f"{change.kind} {change.path}" for change in changes(fd, fds)]


def lower_layers(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "one", tmp_path / "two"
    apply_to(
        one,
        archive(
            "etc/", (entry("etc/conf"), b"1"), "gone/", "gone/a", "gone/b", "kept/", "kept/f", "hidden/x"
        ),
    )
    apply_to(two, archive("gone/.wh.a", "usr/", "usr/tool", "hidden/.wh..wh..opq", "hidden/y"))
    return one, two


def test_overlay_shows_layers_as_their_whiteouts_say(tmp_path):
    with overlay(tmp_path, *lower_layers(tmp_path)) as (merged, _):
        shown = described(merged)
    assert sorted(shown) == [
        "etc", "etc/conf", "gone", "gone/b", "hidden", "hidden/y", "kept", "kept/f", "usr", "usr/tool",
    ]  # fmt: skip


def work_in(merged: Path) -> None:
    """Something of everything that a container does to its files."""
    (merged / "etc/conf").write_text("changed")
    (merged / "usr/tool").unlink()
    shutil.rmtree(merged / "gone")  # noqa: TID251 - the test's own tree
    (merged / "gone").mkdir()
    (merged / "gone/new").write_text("n")
    shutil.rmtree(merged / "hidden")  # noqa: TID251 - the test's own tree
    (merged / "new/dir").mkdir(parents=True)
    (merged / "new/dir/file").write_text("f")
    os.link(merged / "new/dir/file", merged / "new/hard")
    (merged / "new/link").symlink_to("dir/file")
    os.mkfifo(merged / "new/pipe")
    os.setxattr(merged / "new/dir/file", "user.note", b"hello\n")
    os.utime(merged / "new/dir/file", ns=(0, 1_234_567_890_123_456_789))
    os.chown(merged / "new/dir", 70_000, 3_000_000)
    (merged / "kept/f").chmod(0o4711)


def test_a_diff_applied_on_top_shows_the_same_tree(tmp_path):
    layers = lower_layers(tmp_path)
    with overlay(tmp_path, *layers) as (merged, upper):
        work_in(merged)
        wanted = described(merged, times=True)
        data, data_again = diff_of(upper, *layers), diff_of(upper, *layers)
        data_without_lower = diff_of(upper)
    assert data == data_again
    names = [item.name for item, _ in read_all(data)]
    assert "new/.wh..wh..opq" not in names  # nothing below to hide
    assert {"gone/.wh..wh..opq", ".wh.hidden", "usr/.wh.tool"} <= set(names)
    for number, diff in enumerate((data, data_without_lower)):
        again = tmp_path / f"again{number}"
        again.mkdir()
        apply_to(again / "three", diff)
        with overlay(again, *layers, again / "three") as (merged, _):
            assert described(merged, times=True) == wanted


def test_changes_are_what_docker_diff_says(tmp_path):
    layers = lower_layers(tmp_path)
    with overlay(tmp_path, *layers) as (merged, upper):
        work_in(merged)
        listed = changes_of(upper, *layers)
    assert listed == [
        "C /etc",
        "C /etc/conf",
        "C /gone",
        "D /gone/b",
        "A /gone/new",
        "D /hidden",
        "C /kept",
        "C /kept/f",
        "A /new",
        "A /new/dir",
        "A /new/dir/file",
        "A /new/hard",
        "A /new/link",
        "A /new/pipe",
        "C /usr",
        "D /usr/tool",
    ]


def test_a_directory_copied_up_for_nothing_is_no_change(tmp_path):
    layers = lower_layers(tmp_path)
    with overlay(tmp_path, *layers) as (merged, upper):
        times = (merged / "kept").stat()
        (merged / "kept/new").touch()
        (merged / "kept/new").unlink()
        os.utime(merged / "kept", ns=(times.st_atime_ns, times.st_mtime_ns))
        assert (upper / "kept").is_dir()
        assert changes_of(upper, *layers) == []


def test_marks_that_hide_nothing_can_be_dropped_and_the_others_stay(tmp_path):
    layers = lower_layers(tmp_path)
    with overlay(tmp_path, *layers) as (merged, upper):
        (merged / "new" / "inner").mkdir(parents=True)
        (merged / "new" / "inner" / "f").write_bytes(b"12345")
        os.link(merged / "new" / "inner" / "f", merged / "new" / "again")
        remove_tree(AT_FDCWD, merged / "kept")
        (merged / "kept").mkdir()
    out = io.BytesIO()
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(directory_fd(layer)) for layer in reversed(layers)]
        fd = stack.enter_context(directory_fd(upper))
        result = diff_tar(fd, out, fds)
        drop_marks(fd, result.idle_marks)
        drop_marks(fd, result.idle_marks)
    assert set(result.idle_marks) <= {"new", "new/inner"}
    assert result.size == 5
    assert [not is_marked(upper / name) for name in ("new", "new/inner")] == [True, True]
    assert is_marked(upper / "kept")


def is_marked(directory: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(directory)


def test_an_opaque_root_hides_all_layers_below_it(tmp_path):
    one, two = lower_layers(tmp_path)
    apply_to(tmp_path / "three", archive(".wh..wh..opq", "only"))
    upper = tmp_path / "changed"
    apply_to(upper, archive(".wh.etc", "only", "usr/"))
    assert changes_of(upper, one, two, tmp_path / "three") == ["C /only", "A /usr"]


def test_names_that_a_layer_cannot_hold_are_refused(tmp_path):
    with overlay(tmp_path, *lower_layers(tmp_path)) as (merged, upper):
        (merged / ".wh.etc").touch()
        with pytest.raises(Unsupported, match=r"beginning with \.wh\."):
            diff_of(upper)
        (merged / ".wh.etc").unlink()
        os.setxattr(upper, "trusted.overlay.impure", b"y")
        (merged / "d").mkdir()
        os.setxattr(upper / "d", "trusted.overlay.redirect", b"/etc")
        with pytest.raises(Unsupported, match="redirect"):
            diff_of(upper)


def test_gnu_tar_unpacks_a_tree_as_it_was(tmp_path):
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    members: list[Entry | tuple[Entry, bytes]] = [
        (entry("a/" + "long" * 50 + "/" + "n" * 200, mtime_ns=1_700_000_000_123_456_789), b"data"),
        entry("hard", Kind.HARDLINK, linkname="a/" + "long" * 50 + "/" + "n" * 200),
        entry("link", Kind.SYMLINK, mode=0o777, linkname="t" * 300, mtime_ns=5),
        entry("null", Kind.CHAR, major=1, minor=3, uid=2**31, mtime_ns=7),
        entry("attr", xattrs={"user.a": b"\0\1"}, mode=0o6755, gid=2**32 - 2, mtime_ns=3),
        entry("caf\udce9", Kind.DIRECTORY, mtime_ns=9),
    ]
    apply_to(tree, archive(*members))
    with directory_fd(tree) as fd, (tmp_path / "a.tar").open("wb") as out:
        tree_tar(fd, out)
    copy.mkdir()
    command = ["tar", "--xattrs", "--numeric-owner", "-xpf", str(tmp_path / "a.tar"), "-C", str(copy)]
    assert subprocess.run(command, check=True, capture_output=True).stderr == b""
    assert described(copy, times=True) == described(tree, times=True)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_what_gnu_tar_packs_unpacks_as_it_was(tmp_path, form):
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    members: list[Entry | tuple[Entry, bytes]] = [
        (entry("d/" + "n" * 200, mode=0o4755, uid=12, mtime_ns=10**9), b"x" * 70_000),
        entry("d/hard", Kind.HARDLINK, linkname="d/" + "n" * 200),
        entry("d/pipe", Kind.FIFO, mode=0o600, mtime_ns=10**9),
        entry("d/link", Kind.SYMLINK, mode=0o777, linkname="x" * 200, mtime_ns=10**9),
        entry("d", Kind.DIRECTORY, mode=0o2770, mtime_ns=3 * 10**9),
    ]
    apply_to(tree, archive(*members))
    with (tree / "sparse").open("wb") as file:
        file.truncate(50 << 20)
        file.seek(20 << 20)
        file.write(b"island")
    os.utime(tree / "sparse", (1, 1))
    if form == "pax":
        os.setxattr(tree / "sparse", "user.a", b"b")
    command = [
        "tar",
        f"--format={form}",
        "--sparse",
        *(["--xattrs"] if form == "pax" else []),
        "-C",
        str(tree),
        "-c",
        ".",
    ]
    apply_to(copy, subprocess.run(command, check=True, capture_output=True).stdout)
    assert described(copy, times=True) == described(tree, times=True)
    assert (copy / "sparse").stat().st_blocks < 1000
