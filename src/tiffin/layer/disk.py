"""What a tree takes up on disk."""

from __future__ import annotations

import errno
import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512  # of st_blocks, whatever the filesystem's own


def disk_bytes(root_fd: int) -> int:
    """The bytes allocated to the directory and all that is below it, each inode once: what `du` counts.

    By descriptor, no link followed, no mount entered, however deep; two directories are open at a time. What vanishes
    meanwhile is passed over.
    """
    top = os.fstat(root_fd)
    linked: set[int] = set()
    fd = os.open(".", _DIRECTORY, dir_fd=root_fd)
    try:
        blocks, directories = _listed(fd, linked)
        total = top.st_blocks + blocks
        levels = [(top.st_ino, directories)]
        while True:
            if levels[-1][1]:
                entered = _enter(fd, levels[-1][1].pop(), top.st_dev)
                if entered < 0:
                    continue
                os.close(fd)
                fd = entered
                status = os.fstat(fd)
                blocks, directories = _listed(fd, linked)
                total += status.st_blocks + blocks
                levels.append((status.st_ino, directories))
                continue
            levels.pop()
            if not levels:
                return total * _BLOCK
            above = os.open("..", _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = above
            if (
                os.fstat(fd).st_ino != levels[-1][0]
            ):  # moved away while we were in it: what is left is elsewhere
                return total * _BLOCK
    finally:
        os.close(fd)


def _enter(parent: int, name: str, device: int) -> int:
    """A descriptor of a directory below, -1 for what is none any more, or another filesystem's."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link by now
            return -1
        raise
    if os.fstat(fd).st_dev != device:
        os.close(fd)
        return -1
    return fd


def _listed(fd: int, linked: set[int]) -> tuple[int, list[str]]:
    """The blocks of what is in a directory and is none itself, and the names of its directories."""
    blocks, directories = 0, []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if status.st_nlink > 1:
                if status.st_ino in linked:
                    continue
                linked.add(status.st_ino)
            blocks += status.st_blocks
    return blocks, directories
