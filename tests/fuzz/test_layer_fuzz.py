"""Damaged archives: whatever the bytes, a typed error or a tree inside, in little time and memory."""

import contextlib
import gzip
import io
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.suites.archives import apply_to, archive, canary, entry, extract_to, patched, raw_member, read_all
from tiffin.errors import TiffinError
from tiffin.kernel.paths import AT_FDCWD, remove_tree
from tiffin.layer import pax
from tiffin.layer.compress import open_decompressed
from tiffin.layer.tarstream import Kind, Limits

LIMITS = Limits(bytes=1 << 22, entries=200)
patient = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
SPARSE = pax.format_records(
    {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.realsize": b"2000",
        b"GNU.sparse.name": b"s",
    }
)
OLD_SPARSE = patched(
    patched(raw_member(b"old", b"S", b"abc", size=3), 386, b"00000000100\x0000000000003\x00"),
    483,
    b"00000002000\x00",
)
SEED = (
    archive(
        "d/",
        (entry("d/file", xattrs={"user.a": b"1"}, mtime_ns=1), b"data" * 200),
        entry("d/link", Kind.SYMLINK, linkname="../canary"),
        entry("hard", Kind.HARDLINK, linkname="d/file"),
        entry("null", Kind.CHAR, major=1, minor=3),
        ".wh.gone",
        "d/.wh..wh..opq",
        entry("d/" + "n" * 150, Kind.FIFO),
        "d/link/through",
    )[:-1024]
    + raw_member(b"x", b"x", SPARSE)
    + raw_member(b"s", b"0", b"2\n0\n3\n500\n3\n".ljust(512, b"\0") + b"abcdef")
    + OLD_SPARSE
    + raw_member(b"l", b"L", b"long/name\0")
    + raw_member(b"short", b"0", b"x")
)
edits = st.lists(
    st.tuples(
        st.integers(0, len(SEED) - 1),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([b"../", b"/", b".wh.", b"\x80", b"\xff" * 8, b"777"]),
        ),
    ),
    max_size=12,
)


def damaged(changes: list[tuple[int, bytes]], cut: int | None) -> bytes:
    """The seed with bytes changed, and checksums that were right made right again."""
    data = bytearray(SEED)
    for offset, piece in changes:
        data[offset : offset + len(piece)] = piece
    data = data[: len(SEED)]
    for start in range(0, len(data), 512):
        if SEED[start + 257 : start + 262] == b"ustar":
            data[start : start + 512] = patched(bytes(data[start : start + 512]), 0, b"")
    return bytes(data[:cut])


def test_the_seed_is_whole_when_undamaged():
    assert [item.name for item, _ in read_all(SEED)][-4:] == ["d/link/through", "s", "old", "long/name"]
    assert len(read_all(SEED)) == 12


@patient
@given(edits, st.one_of(st.none(), st.integers(0, len(SEED))))
def test_the_reader_raises_nothing_but_its_own_errors(changes, cut):
    with contextlib.suppress(TiffinError):
        read_all(damaged(changes, cut), LIMITS)


@pytest.mark.root
@patient
@given(edits, st.one_of(st.none(), st.integers(0, len(SEED))), st.booleans())
def test_unpacking_raises_nothing_else_and_stays_inside(changes, cut, as_layer):
    base = Path(tempfile.mkdtemp())
    try:
        with canary(base), contextlib.suppress(TiffinError):
            data = damaged(changes, cut)
            if as_layer:
                apply_to(base / "dest", data, LIMITS)
            else:
                extract_to(base / "dest", data, limits=LIMITS)
        assert sorted(path.name for path in base.iterdir()) in (["canary"], ["canary", "dest"])
    finally:
        remove_tree(AT_FDCWD, str(base))


COMPRESSED = [gzip.compress(SEED), zstandard.ZstdCompressor(write_checksum=True).compress(SEED) * 2]


@patient
@given(
    st.sampled_from(COMPRESSED),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, 3000)),
)
def test_damaged_compression_raises_nothing_but_its_own_errors(data, changes, cut):
    changed = bytearray(data)
    for offset, value in changes:
        changed[offset % len(changed)] = value
    with contextlib.suppress(TiffinError):
        open_decompressed(io.BytesIO(bytes(changed[:cut])), LIMITS, ahead=False).read(-1)


@patient
@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_but_its_own_errors(data):
    with contextlib.suppress(TiffinError):
        open_decompressed(io.BytesIO(data), LIMITS, ahead=False).read(-1)
    with contextlib.suppress(TiffinError):
        pax.parse_records(data)
