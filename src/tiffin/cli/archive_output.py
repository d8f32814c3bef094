"""Where `save` and `export` write: a file, whole or not at all, or standard output that is no terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.errors import InvalidArgument
from tiffin.typed import BinaryIO


@contextmanager
def archive_output(path: str) -> Iterator[BinaryIO]:
    """The stream to write to: standard output for "". A file is written aside and renamed when the block ends well,
    and removed when not. Raises InvalidArgument when standard output is a terminal."""
    if not path:
        if sys.stdout.isatty():
            raise InvalidArgument("cowardly refusing to save to a terminal; use the -o flag or redirect")
        yield sys.stdout.buffer
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe is written to where it is
        with open(path, "wb") as file:
            yield file
        return
    aside = f"{path}.{os.getpid()}.partial"
    try:
        with open(aside, "xb") as file:
            yield file
        os.rename(aside, path)
    except BaseException:
        if os.path.exists(aside):
            os.unlink(aside)
        raise
