"""PAX extended header records (POSIX.1-2017 pax, "pax Extended Header"): `LENGTH KEY=VALUE\\n`, bytes
both."""

from __future__ import annotations

import base64
import binascii
import os
import re
import urllib.parse

from tiffin.errors import Corrupt
from tiffin.layer.tarheader import MAX_TIME

_XATTR = b"SCHILY.xattr."
_XATTR_LIBARCHIVE = b"LIBARCHIVE.xattr."
_SPARSE_0_0 = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_TIME = re.compile(rb"(-?)(\d{1,20})(?:\.(\d*))?")
_DECIMAL = re.compile(rb"\d{1,20}")


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """The records of one extended header; the last of a repeated key wins. The repeated keys of GNU's sparse
    format 0.0 come out joined by commas as `GNU.sparse.map`, which is how format 0.1 writes them."""
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        space = data.find(b" ", position, position + 12)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise Corrupt("tar: malformed pax record: no length")
        stop = position + int(digits)
        if not space < stop - 1 < end or data[stop - 1] != 10:
            raise Corrupt("tar: malformed pax record: its length is wrong")
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if not equals or not key:
            raise Corrupt("tar: malformed pax record: no key")
        if key in _SPARSE_0_0:
            sparse.append(value)
        else:
            records[key] = value
        position = stop
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def decimal(value: bytes, what: str) -> int:
    """A non-negative decimal number of a record."""
    if not _DECIMAL.fullmatch(value):
        raise Corrupt(f"tar: pax {what} is not a number: {value[:40]!r}")
    return int(value)


def time_ns(value: bytes) -> int:
    """A time record ("1700000000.123456789", may be negative) in nanoseconds, cut (not rounded) towards
    -inf."""
    match = _TIME.fullmatch(value)
    if match is None:
        raise Corrupt(f"tar: pax time is not a number: {value[:40]!r}")
    sign, seconds, fraction = match.groups()
    fraction = fraction or b""
    if int(seconds) > MAX_TIME:
        raise Corrupt(f"tar: pax time is out of range: {value[:40]!r}")
    total = int(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    if not sign:
        return total
    return -total - (1 if fraction[9:].strip(b"0") else 0)


def format_time(mtime_ns: int) -> bytes:
    """The shortest record value that `time_ns` reads back exactly."""
    sign = "-" if mtime_ns < 0 else ""
    seconds, rest = divmod(abs(mtime_ns), 10**9)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{sign}{seconds}{fraction}".encode()


def xattrs_of(records: dict[bytes, bytes]) -> dict[str, bytes]:
    """Extended attributes in either of the two spellings in use; SCHILY's wins where both are there."""
    found: dict[str, bytes] = {}
    for key, value in records.items():
        if key.startswith(_XATTR_LIBARCHIVE):
            name = os.fsdecode(urllib.parse.unquote_to_bytes(key[len(_XATTR_LIBARCHIVE) :]))
            try:
                decoded = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except (binascii.Error, ValueError) as error:
                raise Corrupt(f"tar: xattr {name!r} is not base64") from error
            found.setdefault(name, decoded)
    for key, value in records.items():
        if key.startswith(_XATTR):
            found[os.fsdecode(key[len(_XATTR) :])] = value
    return found


def xattr_key(name: str) -> bytes:
    """The record key that carries the extended attribute `name`."""
    return _XATTR + os.fsencode(name)


def format_records(records: dict[bytes, bytes]) -> bytes:
    """Records sorted by key, each with the length that counts its own digits."""
    return b"".join(_format(key, records[key]) for key in sorted(records))


def _format(key: bytes, value: bytes) -> bytes:
    body = len(key) + len(value) + 3  # " ", "=", "\n"
    length = body + len(str(body))
    if len(str(length)) != len(str(body)):
        length = body + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
