"""The 512-byte tar header: its fields, read strictly and written in one way (POSIX.1-2017 pax, ustar format).

0 name[100] · 100 mode[8] · 108 uid[8] · 116 gid[8] · 124 size[12] · 136 mtime[12] · 148 checksum[8]
156 type[1] · 157 linkname[100] · 257 magic[8] · 265 uname[32] · 297 gname[32] · 329 major[8] · 337 minor[8]
345 prefix[155], in GNU headers from 386 on sparse entries instead
"""

from __future__ import annotations

import struct

from tiffin.errors import Corrupt

BLOCK = 512
_HEADER = struct.Struct(
    "100s8s8s8s12s12s8s1s100s8s64x8s8s167x"
)  # a longer name is cut, a shorter one gets NULs
ZEROS = bytes(BLOCK)
MAX_ID = 2**32 - 2  # 2**32-1 is "no change" to chown(2)
MAX_TIME = 2**40  # seconds either side of 1970: beyond what any filesystem stores


def number(field: bytes, what: str) -> int:
    """A numeric field: octal digits, or base-256 with its top bit set (GNU). Corrupt for anything else."""
    if field[0] & 0x80:
        if field[0] == 0xFF:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise Corrupt(f"tar: {what} is not a number: {field!r}")
    try:
        return int(digits, 8)
    except ValueError as error:
        raise Corrupt(f"tar: {what} is not an octal number: {field!r}") from error


def checksum_matches(header: bytes) -> bool:
    """Whether the header's checksum holds, summed as unsigned bytes or, as old tars did, as signed ones."""
    digits = header[148:156].partition(b"\0")[0].strip(b" ")
    if not digits.isdigit():
        return False
    try:
        stored = int(digits, 8)
    except ValueError:
        return False
    total = sum(header) - sum(header[148:156]) + 256
    if total == stored:
        return True
    high = sum(byte >> 7 for byte in header[:148]) + sum(byte >> 7 for byte in header[156:])
    return total - 256 * high == stored


def _octal(value: int, width: int) -> bytes:
    """`value` in a field of `width`, or zero when it does not fit (a PAX record then carries it)."""
    if not 0 <= value < 8 ** (width - 1):
        value = 0
    return b"%0*o\0" % (width - 1, value)


def build_header(
    name: bytes,
    flag: bytes,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    linkname: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    """A ustar header. Names are cut to 100 bytes and numbers that do not fit are zero: the caller writes the
    PAX records that say what is meant. Owner names stay empty, so that readers use the numbers."""
    header = _HEADER.pack(
        name,
        _octal(mode, 8),
        _octal(uid, 8),
        _octal(gid, 8),
        _octal(size, 12),
        _octal(mtime, 12),
        b"        ",
        flag,
        linkname,
        b"ustar\x0000",
        _octal(major, 8),
        _octal(minor, 8),
    )
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])
