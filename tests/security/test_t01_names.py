"""T1: absolute names, `..`, NUL and overlong names lead nowhere outside."""

import pytest

from tests.suites.archives import apply_to, archive, canary, described, entry, extract_to, raw_member
from tiffin.errors import Corrupt, LimitExceeded, TiffinError
from tiffin.layer import pax
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root


def forms_of(name: str) -> dict[str, bytes]:
    """One hostile name, said in each way that a tar can say a name."""
    raw = name.encode()
    plain = raw_member(b"harmless", b"0", b"evil")
    return {
        "header": raw_member(raw, b"0", b"evil"),
        "pax": raw_member(b"x", b"x", pax.format_records({b"path": raw})) + plain,
        "gnu": raw_member(b"x", b"L", raw + b"\0") + plain,
        "sparse": raw_member(
            b"x",
            b"x",
            pax.format_records(
                {b"GNU.sparse.name": raw, b"GNU.sparse.size": b"4", b"GNU.sparse.map": b"0,4"}
            ),
        )
        + plain,
    }


@pytest.mark.parametrize("unpack", [apply_to, extract_to])
@pytest.mark.parametrize("form", ["header", "pax", "gnu", "sparse"])
@pytest.mark.parametrize(
    "name", ["../canary/file", "a/../../canary/file", "../x/../canary/new", "..", "/../canary/file"]
)
def test_dot_dot_is_refused_in_every_form(tmp_path, name, form, unpack):
    with canary(tmp_path):
        with pytest.raises(Corrupt, match=r"\.\."):
            unpack(tmp_path / "dest", forms_of(name)[form])
        assert described(tmp_path / "dest") == {}


@pytest.mark.parametrize("form", ["header", "pax", "gnu", "sparse"])
def test_absolute_names_are_confined(tmp_path, form):
    with canary(tmp_path) as outside:
        apply_to(tmp_path / "dest", forms_of(f"{outside}/file")[form])
        assert (tmp_path / "dest" / str(outside)[1:] / "file").read_text() == "evil"


def test_names_that_no_filesystem_holds_are_refused(tmp_path):
    with canary(tmp_path):
        for name, error in (
            ("n" * 5000, LimitExceeded),
            ("n" * 300, LimitExceeded),
            ("a/" * 600 + "b", LimitExceeded),
        ):
            with pytest.raises(error):
                apply_to(tmp_path / "dest", forms_of(name)["pax"])
        with pytest.raises(Corrupt, match="NUL"):
            apply_to(tmp_path / "dest", forms_of("a\0b")["pax"])
        assert described(tmp_path / "dest") == {}


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SYMLINK, Kind.FIFO, Kind.HARDLINK])
def test_the_root_itself_cannot_be_replaced(tmp_path, kind):
    with canary(tmp_path), pytest.raises(TiffinError):
        apply_to(tmp_path / "dest", archive("a", entry(".", kind, linkname="a")))
    assert (tmp_path / "dest").is_dir()
