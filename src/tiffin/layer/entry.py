"""One member of a tar stream, and the kinds that a layer may hold (image-spec, layer.md#file-types)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """What an entry makes. The value is the ustar type flag that is written for it."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    CHAR = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(slots=True)
class Entry:
    """Metadata of one member; all of it is the archive's word, checked for form and range but not for sense.

    `name` and `linkname` are as stored (may be absolute, may hold `..`), decoded by os.fsdecode, so that
    os.fsencode gives back the same bytes. `mode` holds the low twelve bits only. `size` is the apparent size
    of a FILE, holes included, and 0 for every other kind. `sparse` lists (offset, length) of the data,
    ascending. `xattrs` maps full names ("user.x") to raw values, unfiltered.
    """

    name: str
    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    linkname: str = ""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None
