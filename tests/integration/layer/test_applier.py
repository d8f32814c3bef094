"""A layer unpacked while it is written."""

import io
import os
import threading
from pathlib import Path

import pytest

from tests.suites.archives import archive, described, directory_fd, entry
from tiffin.errors import Corrupt
from tiffin.layer.applier import Applier
from tiffin.layer.apply import apply_layer
from tiffin.layer.diff import diff_tar

pytestmark = pytest.mark.root
LARGE = os.urandom(3 << 20) * 8  # more than may be held between the two


def upper(path: Path) -> Path:
    """What a container may have written."""
    (path / "dir" / "deep").mkdir(parents=True)
    (path / "dir" / "large").write_bytes(LARGE)
    (path / "dir" / "deep" / "small").write_text("small")
    (path / "dir" / "empty").touch()
    (path / "link").symlink_to("/dir/large")
    os.link(path / "dir" / "large", path / "again")
    os.mknod(path / "gone", 0o600 | 0o020000, 0)
    os.setxattr(path / "dir" / "deep", "trusted.overlay.opaque", b"y")
    return path


def test_what_is_passed_on_is_what_is_unpacked(tmp_path: Path) -> None:
    out = io.BytesIO()
    with directory_fd(upper(tmp_path / "upper")) as source, directory_fd(tmp_path / "at-once") as at_once:
        with Applier(at_once, out) as applier:
            diff_tar(source, applier)
        with directory_fd(tmp_path / "later") as later:
            applied = apply_layer(io.BytesIO(out.getvalue()), later)
    assert applier.applied == applied
    assert applier.written == len(out.getvalue())
    assert described(tmp_path / "at-once") == described(tmp_path / "later")
    assert (tmp_path / "at-once" / "again").read_bytes() == LARGE
    assert os.getxattr(tmp_path / "at-once" / "dir" / "deep", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("step", [1, 511, 4096, 1 << 20])
def test_pieces_of_any_size_come_whole(tmp_path: Path, step: int) -> None:
    data = archive((entry("a"), b"abc" * 500), "b/")
    with directory_fd(tmp_path / "dest") as fd, Applier(fd, io.BytesIO()) as applier:
        for start in range(0, len(data), step):
            applier.write(data[start : start + step])
    assert (tmp_path / "dest" / "a").read_bytes() == b"abc" * 500


def test_an_error_of_the_thread_reaches_who_writes_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    with directory_fd(tmp_path / "dest") as fd, pytest.raises(Corrupt), Applier(fd, io.BytesIO()) as applier:
        for _ in range(1000):
            applier.write(b"no tar at all" * 1000)
    assert not [one for one in threading.enumerate() if one.name == "unpack layer"]


def test_a_stream_that_breaks_off_is_no_layer(tmp_path: Path) -> None:
    data = archive((entry("a"), b"x" * 5000))
    with directory_fd(tmp_path / "dest") as fd, pytest.raises(Corrupt), Applier(fd, io.BytesIO()) as applier:
        applier.write(data[:3000])


def test_an_error_of_the_writer_ends_the_thread(tmp_path: Path) -> None:
    data = archive((entry("a"), b"x" * 5000))
    with directory_fd(tmp_path / "dest") as fd, pytest.raises(KeyError), Applier(fd, io.BytesIO()) as applier:
        applier.write(data[:3000])
        raise KeyError
    assert not [one for one in threading.enumerate() if one.name == "unpack layer"]
