"""ADD of a local tar archive, plain or compressed: unpacked instead of copied. What is an archive is decided
by what is in the file, never by its name; a compressed file that holds no tar is a file like any other."""

from __future__ import annotations

import os

from tiffin.build.copying.place import Placer
from tiffin.build.copying.sources import Picked
from tiffin.build.copying.tree import open_file
from tiffin.errors import Corrupt, LimitExceeded, Unsupported
from tiffin.kernel.paths import open_in_root
from tiffin.layer.apply import extract
from tiffin.layer.compress import open_decompressed
from tiffin.layer.tarheader import checksum_matches
from tiffin.typed import BinaryIO

_BLOCK = 512


def unpack_archive(
    top: int, picked: Picked, root: int, dest: str, placer: Placer, owner: tuple[int, int] | None
) -> bool:
    """Unpack `picked` into the directory `dest` of the tree `root`; False, and nothing done, if it is no
    archive. `owner` None leaves everything to the owners that the archive gives."""
    base = open_in_root(top, picked.base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = open_file(base, picked.nodes[0].path)
    finally:
        os.close(base)
    with open(fd, "rb") as file:
        if not picked.nodes[0].size or not holds_tar(file):
            return False
        status = os.fstat(fd)
        file.seek(0)
        os.close(placer.make_directory(dest))
        with open_decompressed(file) as tar:
            extract(tar, root, dest.strip("/"), owner=owner)
        if not picked.nodes[0].same(status) or not picked.nodes[0].same(os.fstat(fd)):
            placer.steady = False
    return True


def holds_tar(file: BinaryIO) -> bool:
    """Whether the first block, decompressed, is a tar header."""
    try:
        with open_decompressed(file, ahead=False) as plain:
            block = b""
            while len(block) < _BLOCK and (more := plain.read(_BLOCK - len(block))):
                block += more
    except (Corrupt, Unsupported, LimitExceeded):
        return False
    return len(block) == _BLOCK and checksum_matches(block)
