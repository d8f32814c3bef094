"""An image's merged tree by descriptor: an overlay mount that is attached nowhere and gone with its
descriptor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, ENOSYS

from tiffin.errors import EngineError, Unsupported
from tiffin.kernel import mounts
from tiffin.snapshot import Mount

_ATTRIBUTES = {
    "ro": mounts.MOUNT_ATTR_RDONLY,
    "nodev": mounts.MOUNT_ATTR_NODEV,
    "nosuid": mounts.MOUNT_ATTR_NOSUID,
    "noexec": mounts.MOUNT_ATTR_NOEXEC,
}


@contextmanager
def mounted(mount: Mount) -> Iterator[int]:
    """A descriptor (O_RDONLY) to the root of the overlay `mount`, which is unmounted at the end."""
    try:
        tree = _make(mount)
    except OSError as error:
        if error.errno in (ENOSYS, EINVAL):
            raise Unsupported(
                f"this kernel cannot mount an overlay by descriptor ({error}); Linux 6.5 is needed"
            ) from error
        raise EngineError(f"cannot mount the image's layers: {error}") from error
    try:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(tree)


def _make(mount: Mount) -> int:
    attributes = mounts.MOUNT_ATTR_NODEV
    options: list[tuple[str, str | None]] = []
    for option in mount.options:
        if option in _ATTRIBUTES:
            attributes |= _ATTRIBUTES[option]
        else:
            key, _, value = option.partition("=")
            options.append((key, value or None))
    options += [("lowerdir+", lower) for lower in mount.lower]
    if mount.upper:
        options += [("upperdir", mount.upper), ("workdir", mount.work)]
    return mounts.make_filesystem("overlay", options, attributes, "overlay")
