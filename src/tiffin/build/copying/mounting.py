"""An image's merged tree by descriptor: a mount that is attached nowhere and gone with its descriptor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, ENAMETOOLONG, ENODEV

from tiffin.errors import EngineError, Unsupported
from tiffin.kernel import mounts
from tiffin.runtime.options import parse_options
from tiffin.runtime.rootfs import overlay_by_context, overlay_by_path
from tiffin.snapshot import Mount


@contextmanager
def mounted(mount: Mount) -> Iterator[int]:
    """A descriptor (O_RDONLY) to the root of `mount`, a root as `Snapshots.root_mount` gives it; unmounted at the
    end. To be called in a process with a mount namespace of its own: kernels before 6.7 have to mount it by path
    for a moment.
    """
    try:
        tree = detached(mount)
    except OSError as error:
        if error.errno == ENODEV:
            raise Unsupported(
                "this kernel has no overlay filesystem; load it with: modprobe overlay"
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


def detached(mount: Mount) -> int:
    """`mount`, attached nowhere; its descriptor is the caller's to close."""
    options = parse_options(mount.options)
    attributes = options.set | mounts.MOUNT_ATTR_NODEV
    if not mount.upper and len(mount.lower) == 1:  # not an overlay, says the kernel
        tree = mounts.open_tree(mounts.AT_FDCWD, mount.lower[0], mounts.OPEN_TREE_CLONE)
        mounts.mount_setattr(
            tree, "", 0, set=attributes | mounts.MOUNT_ATTR_RDONLY, propagation=mounts.MS_PRIVATE
        )
        return tree
    try:
        return overlay_by_context(mount, attributes, options.data)
    except OSError as error:
        if error.errno not in (EINVAL, ENAMETOOLONG):
            raise
    return overlay_by_path(mount, attributes, options.data)
