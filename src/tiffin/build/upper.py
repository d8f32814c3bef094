"""Making an overlay's upper directory fit to be a layer by itself.

overlayfs marks every directory made over a merged one as opaque, although nothing lies below it to hide. In
the stack where it was made that is harmless; a layer, though, is shared by every image that has it, also over
other layers, and is to be exactly what its tar says. So marks that hide nothing are taken off.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from tiffin.layer.walk import OPAQUE_XATTR, LayerStack, is_opaque, walk

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def drop_idle_marks(upper_fd: int, lower_fds: Sequence[int]) -> None:
    """Remove the opaque mark of each directory that hides nothing in the layers below (topmost first).
    Idempotent. Nothing may have the upper mounted.
    """
    stack = LayerStack(lower_fds)
    merged = [stack.root()]  # by depth: the layers that the directory above is merged from
    for node in walk(upper_fd):
        if not stat.S_ISDIR(node.status.st_mode):
            continue
        del merged[node.depth :]
        found = stack.look_up(merged[-1], node.path)
        below = found.layers
        fd = os.open(node.name, _DIRECTORY, dir_fd=node.parent_fd)
        try:
            if is_opaque(fd):
                if found.status is None:
                    os.removexattr(fd, OPAQUE_XATTR)
                below = ()
        finally:
            os.close(fd)
        merged.append(below)
