"""The static helper that takes the last steps into a container, and the message that tells it which.

tiffin-init.c, message.c   the helper: freestanding C, the only C of the project
message.py                 Python's side of the message and of the status words that come back
compile.py, hatch_hook.py  how it is built
"""

from __future__ import annotations

import os
from errno import EINVAL

from tiffin.errors import Unsupported

__all__ = ["open_helper"]

_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_EXEC = 1, 2, 0x10
_F_ADD_SEALS = 1033
_SEAL_CONTENT = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE
_SEAL_EXEC = 0x20


def open_helper(mode: int = 0o500) -> int:
    """A descriptor to execute the helper by: a sealed memfd, close-on-exec, the caller's to close.

    Sealed because a container can open it through /proc/PID/exe: neither its bytes nor (from Linux 6.3) its
    executable bits can then be changed for the next container. One descriptor serves any number of
    containers; `mode` 0o111 lets the root of a user namespace execute it too. In a source checkout the helper is
    compiled on first use and after a change. Unsupported when
    there is none.
    """
    image = _read_helper()
    try:
        fd = os.memfd_create("tiffin-init", _MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError as error:
        if error.errno != EINVAL:  # before Linux 6.3 every memfd is executable
            raise
        fd = os.memfd_create("tiffin-init", _MFD_CLOEXEC | _MFD_ALLOW_SEALING)
    try:
        view = memoryview(image)
        while view:
            view = view[os.write(fd, view) :]
        os.fchmod(fd, mode)
        seal(fd, executable=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def seal(fd: int, *, executable: bool = False) -> None:
    """Make a memfd's content, and with `executable` its executable bits where the kernel can, final."""
    import fcntl

    if executable:
        try:
            fcntl.fcntl(fd, _F_ADD_SEALS, _SEAL_EXEC)
        except OSError as error:
            if error.errno != EINVAL:
                raise
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEAL_CONTENT)


def _read_helper() -> bytes:
    from tiffin.init import compile as build

    arch = os.uname().machine
    path = os.path.join(build.HERE, build.binary_name(arch))
    try:
        if build.is_stale(path):
            build.compile_helper(arch, path)
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise Unsupported(
            f"this tiffin holds no helper for {arch}: install a wheel made for {arch}"
        ) from error
    except build.CompileError as error:
        raise Unsupported(str(error)) from error
