"""A tree agrees with the layer that it was unpacked from, and stops agreeing with the smallest change."""

import io
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.layer.test_overlay import diff_of, lower_layers, overlay
from tests.integration.layer.test_properties import members, patient, without_conflicts
from tests.suites.archives import apply_to, archive, directory_fd, entry
from tiffin.errors import Corrupt
from tiffin.layer.tarstream import Entry, Kind
from tiffin.layer.verify import verify_tree

pytestmark = pytest.mark.root

LAYER = archive(
    "etc/",
    (entry("etc/conf", mtime_ns=10**18, xattrs={"user.a": b"1"}), b"one=1\n"),
    (entry("etc/big"), bytes(range(256)) * 9000),
    entry("etc/link", Kind.SYMLINK, linkname="conf"),
    entry("etc/same", Kind.HARDLINK, linkname="etc/conf"),
    entry("dev/null", Kind.CHAR, major=1, minor=3),
    entry("run/pipe", Kind.FIFO),
    "etc/.wh.gone",
    "var/.wh..wh..opq",
    ".wh..wh.plnk/1.2",
)


def differences(path: Path, data: bytes) -> list[str]:
    with directory_fd(path) as fd:
        return [f"{path or '/'} {what}" for path, what in verify_tree(io.BytesIO(data), fd)]


def unpacked(path: Path, data: bytes = LAYER) -> Path:
    apply_to(path, data)
    return path


def test_a_tree_that_was_just_unpacked_agrees(tmp_path: Path) -> None:
    assert differences(unpacked(tmp_path / "t"), LAYER) == []


def flip(tree: Path) -> None:
    before = (tree / "etc/big").stat()
    with open(tree / "etc/big", "r+b") as file:
        file.seek(1_500_000)
        file.write(b"!")
    os.utime(tree / "etc/big", ns=(before.st_atime_ns, before.st_mtime_ns))


def unlink_again(tree: Path) -> None:
    data = (tree / "etc/same").read_bytes()
    (tree / "etc/same").unlink()
    (tree / "etc/same").write_bytes(data)


def relink(tree: Path) -> None:
    (tree / "etc/link").unlink()
    (tree / "etc/link").symlink_to("x")


def other_device(tree: Path) -> None:
    (tree / "dev/null").unlink()
    os.mknod(tree / "dev/null", 0o20644, os.makedev(1, 5))


def no_pipe(tree: Path) -> None:
    (tree / "run/pipe").unlink()
    (tree / "run/pipe").touch()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "contents": (flip, "etc/big has other contents near byte 1"),
    "size": (lambda t: os.truncate(t / "etc/big", 5), "etc/big has 5 bytes, not 2304000"),
    "mode": (lambda t: (t / "etc").chmod(0o700), "etc has mode 0700, not 0755"),
    "owner": (lambda t: os.chown(t / "etc/big", 7, 8), "etc/big belongs to 7:8, not 0:0"),
    "time": (lambda t: os.utime(t / "etc/conf", ns=(0, 0)), "etc/conf was changed at 0.000"),
    "xattr": (lambda t: os.removexattr(t / "etc/conf", "user.a"), "etc/conf has other extended attributes: user.a"),
    "link": (relink, "etc/link leads elsewhere"),
    "hard link": (unlink_again, "etc/same is not the same file as 'etc/conf'"),
    "device": (other_device, "dev/null"),
    "kind": (no_pipe, "run/pipe is not a fifo"),
    "missing": (lambda t: (t / "etc/big").unlink(), "etc/big is missing"),
    "missing tree": (lambda t: os.system(f"rm -r {t}/etc"), "etc/big is missing"),  # noqa: TID251 - the test's own tree
    "stranger": (lambda t: (t / "etc/new").touch(), "etc/new does not belong to the layer"),
    "strange tree": (lambda t: (t / "new/deep").mkdir(parents=True), "new does not belong to the layer"),
    "whiteout": (lambda t: (t / "etc/gone").unlink(), "etc/gone does not hide what is below it (no whiteout)"),
    "strange whiteout": (lambda t: os.mknod(t / "x", 0o20000, 0), "x does not belong to the layer"),
    "opaque": (
        lambda t: os.removexattr(t / "var", "trusted.overlay.opaque"),
        "var does not hide what is below it (no opaque mark)",
    ),
    "strange opaque": (
        lambda t: os.setxattr(t / "etc", "trusted.overlay.opaque", b"y"),
        "etc hides what is below it (an opaque mark)",
    ),
    "implied": (lambda t: (t / "run").chmod(0o777), "run has another mode or owner"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_smallest_change_is_found(tmp_path: Path, damage: str) -> None:
    tree = unpacked(tmp_path / "t")
    change, expected = DAMAGE[damage]
    change(tree)
    assert any(line.startswith(expected) for line in differences(tree, LAYER))


def test_of_a_name_given_twice_the_last_counts(tmp_path: Path) -> None:
    data = archive(
        (entry("a"), b"1"), (entry("a"), b"22"), "d/", "d/x", entry("d", Kind.SYMLINK, linkname="e"), "e/",
        "w/.wh.f", (entry("w/f"), b"f"), "w/.wh.g", "w/g/", "w/h/", "w/.wh.h",
    )  # fmt: skip
    assert differences(unpacked(tmp_path / "t", data), data) == []


def test_entries_below_a_link_are_found_where_they_went(tmp_path: Path) -> None:
    data = archive("usr/lib/", entry("lib", Kind.SYMLINK, linkname="usr/lib"), (entry("lib/so"), b"so"))
    tree = unpacked(tmp_path / "t", data)
    assert differences(tree, data) == []
    (tree / "usr/lib/so").write_bytes(b"os")
    assert differences(tree, data)[0].startswith("lib/so ")


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_bytes(b"x")
    data = archive("d/", (entry("d/x"), b"x"))
    tree = unpacked(tmp_path / "t", data)
    os.system(f"rm -r {tree}/d")  # noqa: TID251 - the test's own tree
    (tree / "d").symlink_to(tmp_path / "outside")
    assert "d/x is missing" in differences(tree, data)


def test_an_upper_agrees_with_the_layer_that_was_written_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = lower_layers(tmp_path)
    with overlay(tmp_path, one, two) as (merged, upper):
        (merged / "new").write_bytes(b"new" * 1000)
        os.link(merged / "new", merged / "newer")
        (merged / "kept/f").unlink()
        shutil.rmtree(merged / "hidden")  # noqa: TID251 - the test's own tree
        (merged / "hidden").mkdir()
        with socket.socket(socket.AF_UNIX) as server, monkeypatch.context() as there:
            there.chdir(merged)  # a socket's path is short
            server.bind("sock")
    assert differences(upper, diff_of(upper, one, two)) == []


def test_a_damaged_tar_is_not_blamed_on_the_tree(tmp_path: Path) -> None:
    tree = unpacked(tmp_path / "t")
    with pytest.raises(Corrupt):
        differences(tree, LAYER[: len(LAYER) // 2])


@patient
@given(st.lists(members(), max_size=12).map(without_conflicts))
def test_whatever_was_unpacked_agrees(drawn: list[tuple[Entry, bytes]]) -> None:
    drawn = [(item, data) for item, data in drawn if ".wh." not in item.name + item.linkname]
    if any(
        item.kind is Kind.HARDLINK and item.linkname not in {i.name for i, _ in drawn} for item, _ in drawn
    ):
        return
    base = Path(tempfile.mkdtemp())
    try:
        data = archive(*drawn)
        assert differences(unpacked(base / "t", data), data) == []
    finally:
        shutil.rmtree(base)  # noqa: TID251 - the test's own tree
