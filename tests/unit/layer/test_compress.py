"""Streams in and out of gzip, zstd, xz and bzip2."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import threading

import pytest
import zstandard

from tests.suites.archives import archive, entry
from tiffin.errors import Corrupt, LimitExceeded
from tiffin.layer.compress import gzip_writer, open_decompressed, zstd_writer
from tiffin.layer.limits import DEFAULT_LIMITS, Limits

TAR = archive((entry("a"), random.Random(1).randbytes(2_500_000)), (entry("zeros"), bytes(3_000_000)))


def zstd(data: bytes, write_checksum: bool = False) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=write_checksum).compress(data)


def zstd_stream(data: bytes, window_log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(data) + compressor.flush()


SKIPPABLE = b"\x5a\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + bytes(300_000)
HALF = len(TAR) // 2
GOOD = {
    "plain": TAR,
    "gzip": gzip.compress(TAR),
    "gzip members": gzip.compress(TAR[:HALF]) + gzip.compress(b"") + gzip.compress(TAR[HALF:]),
    "gzip, zeros after": gzip.compress(TAR) + bytes(1000),
    "zstd": zstd(TAR, write_checksum=True),
    "zstd frames": zstd(TAR[:HALF]) + SKIPPABLE + zstd(TAR[HALF:], write_checksum=True),
    "zstd skippable first": SKIPPABLE + zstd(TAR),
    "zstd without size": zstd_stream(TAR, 20),
    "zstd, zeros after": zstd(TAR) + bytes(1000),
    "xz": lzma.compress(TAR, preset=0),
    "xz streams": lzma.compress(TAR[:HALF], preset=0) + lzma.compress(TAR[HALF:], preset=0),
    "bzip2": bz2.compress(TAR, 1),
    "bzip2 streams": bz2.compress(TAR[:HALF], 1) + bz2.compress(TAR[HALF:], 1),
}


class Dribble(io.RawIOBase):
    """A raw stream that gives little at a time, as sockets and pipes may."""

    def __init__(self, data: bytes) -> None:
        self._data, self._random = io.BytesIO(data), random.Random(2)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, self._random.choice((1, 2, 511, 40_000))))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("form", GOOD)
def test_reads_what_was_compressed(form, ahead):
    digest = hashlib.sha256()
    with open_decompressed(Dribble(GOOD[form]), digest=digest, ahead=ahead) as stream:
        assert stream.read(-1) == TAR
        assert stream.read(10) == b""
    assert digest.hexdigest() == hashlib.sha256(TAR).hexdigest()


def test_an_empty_stream_is_an_empty_tar():
    assert open_decompressed(io.BytesIO(b"")).read(1) == b""


@pytest.mark.parametrize(
    "form", [form for form in GOOD if form not in ("plain", "gzip, zeros after", "zstd, zeros after")]
)
def test_a_cut_stream_is_corrupt(form):
    data = GOOD[form]
    for cut in (1, 5, 200, len(data) // 3):
        with pytest.raises(Corrupt, match=r"truncated|zstd|neither") as caught:
            open_decompressed(io.BytesIO(data[:-cut])).read(-1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["gzip", "zstd", "xz", "bzip2"])
def test_garbage_after_the_end_is_corrupt(form):
    with pytest.raises(Corrupt, match="garbage"):
        open_decompressed(io.BytesIO(GOOD[form] + b"\0\0garbage")).read(-1)


@pytest.mark.parametrize("form", ["gzip", "zstd", "xz", "bzip2"])
def test_a_changed_byte_is_corrupt(form):
    data = bytearray(GOOD[form])
    data[len(data) // 2] ^= 0x55
    with pytest.raises(Corrupt, match=form):
        open_decompressed(io.BytesIO(bytes(data))).read(-1)


def test_anything_else_is_refused_before_it_is_read():
    with pytest.raises(Corrupt, match="neither a tar nor"):
        open_decompressed(io.BytesIO(b"<html>" * 200))


def test_a_zstd_window_beyond_128_mib_is_refused():
    with pytest.raises(LimitExceeded, match="window"):
        open_decompressed(io.BytesIO(zstd_stream(bytes(1 << 20), 28))).read(-1)


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_ratio_is_refused_past_its_floor_only(form):
    zeros = bytes(20 << 20)
    data = gzip.compress(zeros) if form == "gzip" else zstd(zeros)
    assert len(open_decompressed(io.BytesIO(data)).read(-1)) == 20 << 20
    limits = DEFAULT_LIMITS._replace(ratio=100, ratio_floor=4 << 20)
    stream = open_decompressed(io.BytesIO(data), limits)
    with pytest.raises(LimitExceeded, match="times its size"):
        stream.read(-1)


def test_the_bytes_that_come_out_are_bounded():
    with pytest.raises(LimitExceeded, match="more than 1000000 bytes"):
        open_decompressed(io.BytesIO(gzip.compress(TAR)), Limits(bytes=1_000_000)).read(-1)


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_no_step_gives_more_than_a_piece(form):
    with open_decompressed(io.BytesIO(GOOD[form])) as stream:
        assert max(len(piece) for piece in iter(lambda: stream.read(1 << 30), b"")) <= 1 << 20


def test_closing_early_ends_the_thread():
    before = threading.active_count()
    stream = open_decompressed(io.BytesIO(GOOD["gzip"]))
    stream.read(1)
    stream.close()
    stream.close()
    assert threading.active_count() == before


def test_it_is_a_binary_file_for_those_who_need_one():
    with open_decompressed(io.BytesIO(GOOD["gzip"])) as stream:
        assert io.BufferedReader(stream, 4096).read(100_000) == TAR[:100_000]


@pytest.mark.parametrize("writer", [gzip_writer, zstd_writer])
def test_what_the_writers_write_reads_back_and_is_the_same_each_time(writer):
    outs = []
    for step in (len(TAR), len(TAR)):
        out = io.BytesIO()
        with writer(out) as stream:
            for start in range(0, len(TAR), step):
                stream.write(TAR[start : start + step])
        outs.append(out.getvalue())
    assert outs[0] == outs[1]
    assert open_decompressed(io.BytesIO(outs[0])).read(-1) == TAR
    if writer is gzip_writer:
        assert outs[0][4:8] == bytes(4)  # no time
        assert gzip.decompress(outs[0]) == TAR


def test_a_writer_left_by_an_exception_writes_no_end():
    out = io.BytesIO()
    with pytest.raises(RuntimeError), gzip_writer(out) as stream:
        stream.write(TAR)
        raise RuntimeError
    with pytest.raises(Corrupt):
        open_decompressed(io.BytesIO(out.getvalue())).read(-1)
    with pytest.raises(ValueError, match="closed"):
        stream.write(b"more")
