"""Small files that their writers were killed over: each is written beside the one that it was to replace.

A name that ends in a process's number belongs to that process; the others are written under a lock. None is of use to
anybody when its writer is gone, and the next writer makes its own.
"""

import os
import re

from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.state import Layout


def asides(layout: "Layout") -> list[str]:
    """Those without a living writer, as paths below the root."""
    return sorted(_dead(layout))


def remove_asides(layout: "Layout") -> int:
    """Remove them; how many."""
    count = 0
    for path in _dead(layout):
        try:
            os.unlink(f"{layout.root}/{path}")
        except FileNotFoundError:
            continue
        count += 1
    return count


def _dead(layout: "Layout") -> "Iterator[str]":
    """One by one; those under a lock are handed out while it is held."""
    for directory in ("oci", "cache"):
        for name in _names(layout, directory):
            match = re.fullmatch(r"[^.].*\.([0-9]{1,10})", name)
            if match and not os.path.exists(f"/proc/{match[1]}"):
                yield f"{directory}/{name}"
    for directory, lock, pattern in (
        ("oci", "index.lock", r"\.index\.json"),
        ("manifests", "manifests/lock", r".*\.new"),
    ):
        found = [f"{directory}/{name}" for name in _names(layout, directory) if re.fullmatch(pattern, name)]
        fd = lock_file(f"{layout.root}/{lock}", wait=False) if found else -1
        if fd >= 0:
            try:
                yield from found
            finally:
                os.close(fd)


def _names(layout: "Layout", directory: str) -> list[str]:
    try:
        return os.listdir(f"{layout.root}/{directory}")
    except FileNotFoundError:
        return []
