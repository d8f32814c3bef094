"""What the kernel refused, as tiffin's own errors."""

from __future__ import annotations

import errno

from tiffin.errors import (
    Corrupt,
    EngineError,
    LimitExceeded,
    NoSpace,
    PermissionDenied,
    TiffinError,
    Unsupported,
)

# Answers of the kernel that come of what an archive asks for, and of nothing that the host lacks.
_IMPOSSIBLE = {
    errno.E2BIG,
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ERANGE,
    errno.EXDEV,
}


def reading_failed(error: OSError, what: str) -> TiffinError:
    """The error for `what`, a part of an archive that could not be unpacked."""
    text = f"{what}: {error.strerror or error}"
    if error.errno in (errno.ENAMETOOLONG, errno.EMLINK, errno.EFBIG):
        return LimitExceeded(text)
    if error.errno == errno.ENOTSUP:
        return Unsupported(f"{text}: the filesystem unpacked to lacks extended attributes")
    if error.errno in _IMPOSSIBLE:
        return Corrupt(text)
    return writing_failed(error, what)


def writing_failed(error: OSError, what: str) -> TiffinError:
    """The error for `what`, something that could not be read from or written to the host's disk."""
    text = f"{what}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{text}: free some space and try again")
    if error.errno in (errno.EPERM, errno.EACCES):
        return PermissionDenied(f"{text}: needs root")
    return EngineError(text)
