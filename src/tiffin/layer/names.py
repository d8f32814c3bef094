"""Names of archive members: from what the archive says to a path that can be walked below a root (T1)."""

from __future__ import annotations

import os

from tiffin.errors import Corrupt, LimitExceeded
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.layer.limits import Limits

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
AUFS_METADATA = ".wh..wh."


def clean_name(name: str, limits: Limits) -> str:
    """`name` relative to the root, without empty and `.` components; "" is the root itself.

    A leading `/` is dropped, as every reader of layers does. Corrupt for `..` anywhere, even where it would
    lead to nothing outside: no honest archive has it, and readers disagree about what it means.
    """
    parts = name.split("/")
    if "" in parts or "." in parts:
        parts = [part for part in parts if part and part != "."]
    if ".." in parts:
        raise Corrupt(f"archive entry {shown(name)} has '..' in its name")
    if len(parts) > limits.depth:
        raise LimitExceeded(f"archive entry {shown(name)} is deeper than {limits.depth} directories")
    if len(name) > limits.component_bytes // 4:  # a character has four bytes at most
        for part in parts:
            longest = limits.component_bytes + (len(WHITEOUT) if part.startswith(WHITEOUT) else 0)
            if len(os.fsencode(part)) > longest:
                raise LimitExceeded(f"archive entry {shown(name)}: a name longer than {longest} bytes")
    return "/".join(parts)


def shown(name: str) -> str:
    """`name` for an error message: quoted, escaped, one line, not too long."""
    return repr(name) if len(name) <= 120 else repr(name[:120]) + "..."
