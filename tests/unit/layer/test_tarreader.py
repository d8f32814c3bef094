"""What the reader makes of streams by other writers, and of streams that no writer would make."""

import io
import os
import shutil
import subprocess
import tarfile  # noqa: TID251 - a peer that writes the input
from pathlib import Path

import pytest

from tests.suites.archives import archive, entry, patched, raw_member, read_all
from tiffin.errors import Corrupt, LimitExceeded, TiffinError
from tiffin.layer import pax
from tiffin.layer.tarstream import Kind, Limits, TarReader

LONG = "d" * 60 + "/" + "e" * 60 + "/" + "f" * 60
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def by_tarfile(form: str, members: list[tuple[str, bytes, bytes]], **fields: int | str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[form]) as tar:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_reads_names_data_and_numbers_that_tarfile_writes(form):
    data = by_tarfile(
        form, members=[("a", b"hi", b"0"), (LONG, b"x" * 1000, b"0")], mode=0o4755, uid=7, gid=8, mtime=9
    )
    (first, first_data), (second, second_data) = read_all(data)
    assert (first.name, first_data, first.mode, first.uid, first.gid) == ("a", b"hi", 0o4755, 7, 8)
    assert (second.name, second_data, second.mtime_ns) == (LONG, b"x" * 1000, 9 * 10**9)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_reads_numbers_beyond_octal(form):
    data = by_tarfile(form, members=[("a", b"", b"0")], uid=2**31, gid=2**32 - 2, mtime=-5)
    ((item, _),) = read_all(data)
    assert (item.uid, item.gid, item.mtime_ns) == (2**31, 2**32 - 2, -5 * 10**9)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_reads_names_and_targets_longer_than_a_header(form):
    data = by_tarfile(form, members=[("n" * 300, b"", b"2")], linkname="t" * 500)
    ((item, _),) = read_all(data)
    assert (item.name, item.linkname, item.kind) == ("n" * 300, "t" * 500, Kind.SYMLINK)


def test_keeps_names_that_are_not_utf8():
    ((item, _),) = read_all(raw_member(b"caf\xe9", b"0"))
    assert os.fsencode(item.name) == b"caf\xe9"


@pytest.mark.parametrize(
    ("form", "extra"),
    [
        ("ustar", []),
        ("gnu", ["--sparse"]),
        ("pax", ["--sparse", "--sparse-version=0.0"]),
        ("pax", ["--sparse", "--sparse-version=0.1"]),
        ("pax", ["--sparse", "--sparse-version=1.0"]),
    ],
)
def test_reads_sparse_files_that_gnu_tar_writes(tmp_path: Path, form, extra):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        for piece in range(60):
            file.seek(piece * 100_000)
            file.write(b"%d" % piece * 300)
        file.truncate(7_000_000)
    (tmp_path / "after").write_bytes(b"after")
    command = [shutil.which("tar") or "tar", f"--format={form}", *extra, "-C", str(tmp_path), "-cf", "-"]
    data = subprocess.run([*command, "sparse", "after"], check=True, capture_output=True).stdout
    (item, content), (after, after_data) = read_all(data)
    assert item.name == "sparse"
    assert item.size == 7_000_000
    assert content == sparse.read_bytes()
    assert (after.name, after_data) == ("after", b"after")

    reader = TarReader(io.BytesIO(data))
    next(iter(reader))
    with (tmp_path / "out").open("wb") as out:
        reader.read_into(out.fileno())
    assert (tmp_path / "out").read_bytes() == sparse.read_bytes()
    if extra:
        assert (tmp_path / "out").stat().st_blocks * 512 < 1_500_000


def test_skips_what_is_not_asked_for():
    data = archive((entry("a"), b"1" * 3_000_000), (entry("b"), b"2" * 700), (entry("c"), b"3"))
    reader = TarReader(io.BytesIO(data))
    names = []
    for item in reader:
        names.append(item.name)
        for piece in reader.chunks():
            assert piece[0] in b"123"
            break
    assert names == ["a", "b", "c"]


def test_an_old_name_with_a_slash_is_a_directory():
    ((item, _),) = read_all(raw_member(b"old/", b"\0"))
    assert item.kind is Kind.DIRECTORY


def test_global_headers_and_volume_labels_are_passed_over():
    record = pax.format_records({b"path": b"evil"})
    data = raw_member(b"g", b"g", record) + raw_member(b"label", b"V") + raw_member(b"a", b"0", b"x")
    assert [(item.name, content) for item, content in read_all(data)] == [("a", b"x")]


def test_an_archive_may_end_without_its_zero_blocks():
    assert [item.name for item, _ in read_all(raw_member(b"a", b"0", b"x"))] == ["a"]
    assert read_all(b"") == []


def test_what_follows_the_end_is_not_read_as_members():
    data = archive("a") + raw_member(b"b", b"0")
    assert [item.name for item, _ in read_all(data)] == ["a"]


def pax_member(records: dict[bytes, bytes], member: bytes | None = None) -> bytes:
    return raw_member(b"x", b"x", pax.format_records(records)) + (member or raw_member(b"a", b"0"))


ZERO_HEADER = raw_member(b"a", b"0")[:512]
MALFORMED = {
    "checksum": (b"\x01" + ZERO_HEADER[1:], "checksum"),
    "not a tar": (b"<html>" + bytes(600), "checksum"),
    "half a header": (ZERO_HEADER[:200], "truncated"),
    "half the data": (raw_member(b"a", b"0", b"x" * 600)[:700], "truncated: ends inside 'a'"),
    "missing data": (raw_member(b"a", b"0", size=5), "truncated"),
    "lone zero block": (bytes(512) + ZERO_HEADER, "lone zero block"),
    "unknown type": (raw_member(b"a", b"Z"), "unknown member type"),
    "negative size": (patched(ZERO_HEADER, 124, b"\xff" * 12), "negative size"),
    "size in letters": (patched(ZERO_HEADER, 124, b"12ab\0"), "not a number"),
    "size with underscore": (patched(ZERO_HEADER, 124, b"1_0\0"), "not a number"),
    "size not octal": (patched(ZERO_HEADER, 124, b"999\0"), "not an octal"),
    "uid -1": (patched(ZERO_HEADER, 108, b"\xff" * 8), "uid -1 is out of range"),
    "uid 2^32-1": (pax_member({b"uid": b"4294967295"}), "uid 4294967295 is out of range"),
    "mtime far away": (patched(ZERO_HEADER, 136, b"\x80\x7f" + b"\xff" * 10), "mtime of 'a' is out of range"),
    "pax mtime": (pax_member({b"mtime": b"1e9"}), "not a number"),
    "pax mtime far away": (pax_member({b"mtime": b"9" * 19}), "out of range"),
    "pax size": (pax_member({b"size": b"-1"}), "not a number"),
    "pax NUL in path": (pax_member({b"path": b"a\0b"}), "NUL"),
    "pax length short": (raw_member(b"x", b"x", b"3 a=b\n") + ZERO_HEADER, "length is wrong"),
    "pax length long": (raw_member(b"x", b"x", b"99 a=b\n") + ZERO_HEADER, "length is wrong"),
    "pax length 0": (raw_member(b"x", b"x", b"0 a=b\n") + ZERO_HEADER, "length is wrong"),
    "pax length absent": (raw_member(b"x", b"x", b" a=b\n") + ZERO_HEADER, "no length"),
    "pax key absent": (raw_member(b"x", b"x", b"5 =b\n") + ZERO_HEADER, "no key"),
    "pax without member": (raw_member(b"x", b"x", b"6 a=b\n"), "without its member"),
    "pax xattr": (pax_member({b"LIBARCHIVE.xattr.user.a": b"\xff"}), "base64"),
    "sparse without size": (pax_member({b"GNU.sparse.map": b"0,0"}), "without its size"),
    "sparse out of order": (
        pax_member({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"5,1,2,1"}),
        "out of order",
    ),
    "sparse past the end": (
        pax_member({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"5,10"}),
        "past the end",
    ),
    "sparse half a pair": (pax_member({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"5"}), "no length"),
    "sparse of other length": (
        pax_member({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b"0,3"}),
        "3 bytes where 0",
    ),
    "sparse map past its member": (
        pax_member(
            {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"9"},
            raw_member(b"a", b"0", b"0\n", size=0),
        ),
        "longer than its member",
    ),
    "sparse map of text": (
        pax_member(
            {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"9"},
            raw_member(b"a", b"0", b"x" * 600),
        ),
        "sparse map is not",
    ),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_streams_are_corrupt(what):
    data, message = MALFORMED[what]
    with pytest.raises(Corrupt, match=message) as caught:
        read_all(data)
    assert "\n" not in str(caught.value)


BEYOND = {
    "bytes": (archive((entry("a"), b"x" * 5000)), Limits(bytes=4000)),
    "apparent bytes": (
        pax_member({b"GNU.sparse.size": b"999999", b"GNU.sparse.map": b""}),
        Limits(bytes=99_999),
    ),
    "entries": (archive("a", "b", "c"), Limits(entries=2)),
    "name": (pax_member({b"path": b"n" * 4097}), Limits()),
    "link": (pax_member({b"linkpath": b"n" * 4097}, raw_member(b"a", b"2")), Limits()),
    "pax": (raw_member(b"x", b"x", size=2**20 + 1), Limits()),
    "gnu name": (raw_member(b"x", b"L", size=2**33 - 1), Limits()),
    "headers in a row": (raw_member(b"x", b"g") * 20 + raw_member(b"a", b"0"), Limits()),
    "sparse pieces": (
        pax_member({b"GNU.sparse.size": b"9", b"GNU.sparse.map": b",".join([b"0,0"] * 20)}),
        Limits(sparse_extents=10),
    ),
    "sparse pieces, counted before": (
        pax_member(
            {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"9"},
            raw_member(b"a", b"0", b"999999999\n"),
        ),
        Limits(),
    ),
}


@pytest.mark.parametrize("what", BEYOND)
def test_bounds_are_kept(what):
    data, limits = BEYOND[what]
    with pytest.raises(LimitExceeded):
        read_all(data, limits)


def test_every_truncation_is_an_error_or_ends_at_a_header():
    data = archive((entry("a", xattrs={"user.x": b"1"}), b"x" * 700), "b")
    whole = [item.name for item, _ in read_all(data)]
    for length in range(0, len(data), 37):
        try:
            names = [item.name for item, _ in read_all(data[:length])]
        except TiffinError:
            continue
        assert names == whole[: len(names)]
