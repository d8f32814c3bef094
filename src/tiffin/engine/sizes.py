"""What containers take on disk."""

from __future__ import annotations

import os
import stat

from tiffin.layer.walk import walk
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.containers import Container
    from tiffin.state import Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ContainerSize(NamedTuple):
    """Bytes of files: those that the container wrote, and those together with its image's."""

    written: int
    whole: int


def measure(store: Store, container: Container) -> ContainerSize:
    """Walks what the container wrote, by descriptor; a file of several names counts once."""
    query = "SELECT coalesce(sum(size), 0) FROM layers WHERE diff_id IN (SELECT value FROM json_each(?))"
    layers = ",".join(f'"{diff_id}"' for diff_id in set(container.record.layers))
    below: int = store.db.execute(query, (f"[{layers}]",)).fetchone()[0]
    written = _written(f"{store.layout.container(container.id)}/upper")
    return ContainerSize(written, written + below)


def _written(path: str) -> int:
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return 0  # never started
    total, seen = 0, set()
    try:
        for node in walk(fd):
            status = node.status
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                total += status.st_size
                if status.st_nlink > 1:
                    seen.add((status.st_dev, status.st_ino))
    finally:
        os.close(fd)
    return total
