"""Sparse files as GNU tar stores them: in the header ("S"), and in PAX records as formats 0.0, 0.1 and
1.0."""

from __future__ import annotations

from tiffin.errors import Corrupt, LimitExceeded
from tiffin.layer.pax import decimal
from tiffin.layer.tarheader import BLOCK, number
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.layer.limits import Limits

    Extents = list[tuple[int, int]]
    TakeBlock = Callable[[], bytes]


def check_extents(extents: Extents, real_size: int, stored: int, limits: Limits) -> Extents:
    """The extents that hold data, proven ascending, apart, inside `real_size` and `stored` bytes together."""
    if len(extents) > limits.sparse_extents:
        raise LimitExceeded(f"tar: sparse file in more than {limits.sparse_extents} pieces")
    position = total = 0
    for offset, length in extents:
        if offset < position or length < 0 or offset + length > real_size:
            raise Corrupt("tar: sparse map is out of order or past the end of its file")
        position = offset + length
        total += length
    if total != stored:
        raise Corrupt(f"tar: sparse map speaks of {total} bytes where {stored} are stored")
    return [extent for extent in extents if extent[1]]


def gnu_extents(header: bytes, take_block: TakeBlock, limits: Limits) -> tuple[Extents, int]:
    """Map and real size of an old GNU sparse header, reading its extension blocks from the stream."""
    extents = _gnu_fields(header[386:482])
    extended = header[482]
    while extended:
        block = take_block()
        extents += _gnu_fields(block[:504])
        extended = block[504]
        if len(extents) > limits.sparse_extents:
            raise LimitExceeded(f"tar: sparse file in more than {limits.sparse_extents} pieces")
    return extents, number(header[483:495], "sparse size")


def _gnu_fields(data: bytes) -> Extents:
    extents: Extents = []
    for start in range(0, len(data), 24):
        if not data[start]:  # an unused slot ends the list
            break
        offset = number(data[start : start + 12], "sparse offset")
        extents.append((offset, number(data[start + 12 : start + 24], "sparse length")))
    return extents


def map_extents(text: bytes) -> Extents:
    """The map of formats 0.0 and 0.1: "offset,length,offset,length"."""
    if not text:
        return []
    values = [decimal(part, "sparse map") for part in text.split(b",")]
    if len(values) % 2:
        raise Corrupt("tar: sparse map with an offset but no length")
    return list(zip(values[::2], values[1::2], strict=True))


def stream_extents(take_block: TakeBlock, limits: Limits) -> tuple[Extents, int]:
    """The map of format 1.0, in whole blocks before the data: its extents, and the bytes that it took up."""
    text, consumed = b"", 0

    def next_number() -> int:
        nonlocal text, consumed
        while b"\n" not in text:
            if len(text) > 20:
                raise Corrupt("tar: sparse map is not numbers, one a line")
            text += take_block()
            consumed += BLOCK
        line, _, text = text.partition(b"\n")
        return decimal(line, "sparse map")

    count = next_number()
    if count > limits.sparse_extents:
        raise LimitExceeded(f"tar: sparse file in more than {limits.sparse_extents} pieces")
    return [(next_number(), next_number()) for _ in range(count)], consumed
