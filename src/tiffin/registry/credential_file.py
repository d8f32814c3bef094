"""Docker's configuration file as a document on disk: read whole, changed in place of what was there.

What others wrote into it is theirs: unknown keys and the order of all stay. A change is one rename, so that a reader
sees the file before or after it; the file behind a symbolic link is replaced, not the link.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tiffin.errors import InvalidArgument, LimitExceeded, PermissionDenied
from tiffin.typed import Any

FILE_MAX = 4 << 20


def default_path() -> str:
    """$DOCKER_CONFIG/config.json, else ~/.docker/config.json."""
    directory = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    return os.path.join(directory, "config.json")


def read(path: str) -> dict[str, Any]:
    """The document; {} when there is no file, or an empty one. Raises InvalidArgument saying what is wrong with it,
    never quoting it."""
    import json

    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise PermissionDenied(f"cannot read {path}: {error.strerror}; see $DOCKER_CONFIG") from error
    if len(data) > FILE_MAX:
        raise LimitExceeded(f"{path} is larger than {FILE_MAX >> 20} MiB; move it away and log in again")
    if not data.strip():
        return {}
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        raise _malformed(path, f"is not valid JSON (line {error.lineno}: {error.msg})") from None
    except (UnicodeDecodeError, RecursionError):
        raise _malformed(path, "is not valid JSON") from None
    return _checked(path, document)


def _checked(path: str, document: Any) -> dict[str, Any]:
    """The keys that credentials come from have their types."""
    if not isinstance(document, dict):
        raise _malformed(path, "is not a JSON object")
    for key in ("auths", "credHelpers"):
        if not isinstance(document.get(key), dict | None):
            raise _malformed(path, f"has a {key!r} that is not an object")
    if not isinstance(document.get("credsStore"), str | None):
        raise _malformed(path, "has a 'credsStore' that is not a string")
    return document


def _malformed(path: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{path} {what}: mend it, or move it away and log in again")


def change(path: str, edit: Callable[[dict[str, Any]], bool]) -> bool:
    """Let `edit` change the document, and write it back when that returns True; whether it did. Changes made by
    tiffin at the same time wait for each other (a lock on the directory, which leaves no file)."""
    import fcntl

    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = read(path)
            if not edit(document):
                return False
            _replace(target, document)
            os.fsync(lock)
        finally:
            os.close(lock)
    except OSError as error:
        raise PermissionDenied(f"cannot write {path}: {error.strerror}; see $DOCKER_CONFIG") from error
    return True


def _replace(target: str, document: dict[str, Any]) -> None:
    """Write aside, sync, rename. Only its owner, who stays the same, may read it."""
    import tempfile

    data = _encoded(document)
    fd, temporary = tempfile.mkstemp(prefix="config.json", dir=os.path.dirname(target))  # mode 0600
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            _keep_owner(target, fd)
            os.fsync(fd)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _encoded(document: dict[str, Any]) -> bytes:
    import json

    try:
        return json.dumps(document, indent="\t", ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which only an escape can carry
        return json.dumps(document, indent="\t").encode()


def _keep_owner(target: str, fd: int) -> None:
    try:
        before = os.stat(target)
        os.fchown(fd, before.st_uid, before.st_gid)
    except (FileNotFoundError, PermissionError):  # none yet, or a group that is not ours to give
        pass
