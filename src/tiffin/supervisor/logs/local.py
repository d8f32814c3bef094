"""The local driver: blocks of raw bytes, tiffin's own form (Docker says of its: not to be read by other tools).

    block = magic (4) stream (1: 1 stdout, 2 stderr) length (u32) time (u64, ns) | length bytes | length (u32)

Lines that came together share a block and a time. The length stands at both ends, so that a log is read from its end
as well; numbers are big endian.
"""

import os
from struct import Struct

from tiffin.supervisor.logs.files import LineLog, timestamp
from tiffin.supervisor.logs.jsonfile import Entry

_MAGIC = b"\x1etl1"
_HEAD = Struct(">4sBIQ")
_TAIL = Struct(">I")
_STREAMS = {1: "stdout", 2: "stderr"}
_LONGEST = 1 << 20  # no block that we write comes near


class LocalLog(LineLog):
    """Appends to a local log."""

    def encode(self, stream: str, data: bytes, when: int) -> bytes:
        size = len(data)
        return _HEAD.pack(_MAGIC, 1 if stream == "stdout" else 2, size, when) + data + _TAIL.pack(size)

    def repair(self, fd: int, size: int) -> int:
        """Cut off what a crash left after the last whole block."""
        start = max(0, size - 2 * _LONGEST)
        data = os.pread(fd, size - start, start)
        at = 0 if start == 0 else _resume(data, 0)
        end = at + sum(length for _, length in _blocks(data, at)) if at >= 0 else 0
        if start + end < size:
            os.ftruncate(fd, start + end)
        return start + end


def _blocks(data: bytes, at: int) -> "list[tuple[Entry, int]]":
    """The whole blocks that follow each other from `at`, each with its length in the file."""
    found = []
    while at + _HEAD.size <= len(data):
        magic, stream, size, when = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + size
        whole = magic == _MAGIC and stream in _STREAMS and size <= _LONGEST
        if not whole or end + _TAIL.size > len(data) or _TAIL.unpack_from(data, end)[0] != size:
            break
        entry = Entry(_STREAMS[stream], timestamp(when), data[at + _HEAD.size : end])
        found.append((entry, _HEAD.size + size + _TAIL.size))
        at = end + _TAIL.size
    return found


def _resume(data: bytes, at: int) -> int:
    """Where a whole block begins at or after `at`; -1 when none does. Log text may hold the magic: a block counts only
    when both its lengths agree."""
    while (at := data.find(_MAGIC, at)) >= 0 and not _blocks(data[: at + 2 * _LONGEST], at)[:1]:
        at += 1
    return at


def decode(block: bytes) -> "tuple[list[Entry], bytes]":
    """The entries of the whole blocks, and what follows them; what is none is passed over."""
    entries: list[Entry] = []
    at = 0
    while at < len(block):
        found = _blocks(block, at)
        entries += [entry for entry, _ in found]
        at += sum(length for _, length in found)
        rest = len(block) - at
        if rest <= _HEAD.size + _TAIL.size or (block.startswith(_MAGIC, at) and rest <= _LONGEST):
            break  # the beginning of one that is still to come
        following = _resume(block, at + 1)
        if following < 0:
            return entries, block[-_LONGEST:] if rest > _LONGEST else block[at:]
        at = following
    return entries, block[at:]


def time_after(block: bytes) -> tuple[int, str]:
    """Where the first block that begins in `block` lies, and its time; (-1, "") when there is none."""
    at = _resume(block, 0)
    return (at, _blocks(block, at)[0][0].time) if at >= 0 else (-1, "")


def last_lines(fd: int, end: int, count: int) -> tuple[bytes, int]:
    """Whole blocks with the last `count` lines of the file before `end`, the first one cut to fit, and how many lines
    they are."""
    blocks: list[bytes] = []
    have = 0
    while end > 0 and have < count:
        size = _TAIL.unpack(os.pread(fd, _TAIL.size, end - _TAIL.size))[0]
        start = end - _TAIL.size - size - _HEAD.size
        if start < 0 or size > _LONGEST:
            break
        block = os.pread(fd, end - start, start)
        found = _blocks(block, 0)
        if not found:
            break
        text = found[0][0].data
        lines = text.count(b"\n") + (not text.endswith(b"\n"))
        if have + lines > count:
            text = b"".join(_split(text)[have - count :])
            block = block[: _HEAD.size - 12] + _sized(text, block)
            lines = count - have
        blocks.append(block)
        have += lines
        end = start
    return b"".join(reversed(blocks)), have


def _split(text: bytes) -> list[bytes]:
    pieces = [line + b"\n" for line in text.split(b"\n")]
    pieces[-1] = pieces[-1][:-1]
    return pieces if pieces[-1] else pieces[:-1]


def _sized(text: bytes, block: bytes) -> bytes:
    """The rest of a block's bytes after its stream, with another text."""
    when = block[_HEAD.size - 8 : _HEAD.size]
    return _TAIL.pack(len(text)) + when + text + _TAIL.pack(len(text))
