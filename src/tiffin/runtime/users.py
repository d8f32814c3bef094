"""Who a container's process is: `user[:group]` against the container's own /etc/passwd and /etc/group.

The files are the image's, hence hostile: they are opened below the root by descriptor, must be regular, are
read to a bound, and are parsed here and not by the C library, which would load the container's own NSS
modules.
"""

import os
from errno import ELOOP, ENOTDIR

from tiffin.errors import InvalidArgument
from tiffin.kernel.paths import open_in_root
from tiffin.typed import Iterable, Iterator, NamedTuple

_MAX_FILE = 10 << 20
_MAX_ID = (1 << 31) - 1
_S_IFMT, _S_IFREG = 0o170000, 0o100000


class User(NamedTuple):
    """`groups` are the supplementary ones, without duplicates, the primary one first: a process that could drop it
    would get past files that keep its group out. `home` is "/" for a user without an entry."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve_user(root_fd: int, text: str, extra_groups: Iterable[str] = ()) -> User:
    """`text` is "", "user", "user:group", ":group", each part a name or digits. Digits are always a number,
    whatever /etc/passwd calls itself; they need no entry. Raises InvalidArgument, worded as Docker does."""
    user, _, group = text.partition(":")
    entry, name = _find_user(root_fd, user or "0", text)
    groups = _Groups(root_fd)
    gid = entry.gid
    supplementary: list[int] = []
    if group:
        gid = groups.find(group)
    elif name:
        supplementary = groups.of_member(name)
    supplementary += [groups.find(extra) for extra in extra_groups]
    return User(entry.uid, gid, tuple(dict.fromkeys((gid, *supplementary))), entry.home)


def _find_user(root_fd: int, user: str, text: str) -> tuple[User, bytes]:
    """The entry and its name, b"" when it has none."""
    number = _number(user, f"invalid user {text!r}")
    raw = os.fsencode(user)
    for fields in _entries(root_fd, "etc/passwd"):
        uid = _id_field(fields, 2)
        if uid is None or (fields[0] != raw if number is None else uid != number):
            continue
        gid = _id_field(fields, 3)
        if gid is None:
            continue
        home = os.fsdecode(fields[5]) if len(fields) > 5 and fields[5].startswith(b"/") else "/"
        return User(uid, gid, (), home), fields[0]
    if number is None:
        raise InvalidArgument(f"unable to find user {user}: no matching entries in passwd file")
    return User(number, 0), b""


class _Groups:
    """/etc/group, read at first need and once."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._read: list[list[bytes]] | None = None

    def _lines(self) -> list[list[bytes]]:
        if self._read is None:
            self._read = list(_entries(self._root_fd, "etc/group"))
        return self._read

    def find(self, group: str) -> int:
        number = _number(group, f"invalid group {group!r}")
        if number is not None:
            return number
        raw = os.fsencode(group)
        for fields in self._lines():
            gid = _id_field(fields, 2)
            if fields[0] == raw and gid is not None:
                return gid
        raise InvalidArgument(f"unable to find group {group}: no matching entries in group file")

    def of_member(self, name: bytes) -> list[int]:
        found = []
        for fields in self._lines():
            gid = _id_field(fields, 2)
            if len(fields) > 3 and gid is not None and name in fields[3].split(b","):
                found.append(gid)
        return found


def _number(text: str, mistake: str) -> int | None:
    """None for a name. "-1", "+5" and "٣" are neither names nor numbers."""
    if not text or text[0] in "-+" or "\0" in text or "\n" in text:
        raise InvalidArgument(f"{mistake}: give a name or a number from 0 to {_MAX_ID}")
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _MAX_ID:
        raise InvalidArgument(f"{mistake}: uids and gids must be in range 0-{_MAX_ID}")
    return int(text)


def _id_field(fields: list[bytes], at: int) -> int | None:
    """None for what is no id: such a line is no entry, rather than one with id 0."""
    if len(fields) <= at or not fields[at].isdigit() or len(fields[at]) > 10:
        return None
    value = int(fields[at])
    return value if value <= _MAX_ID else None


def _entries(root_fd: int, path: str) -> Iterator[list[bytes]]:
    for line in _read_file(root_fd, path).split(b"\n"):
        if line and not line.startswith(b"#"):
            yield line.split(b":")


def _read_file(root_fd: int, path: str) -> bytes:
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        if error.errno in (ELOOP, ENOTDIR):
            return b""
        raise InvalidArgument(f"cannot read /{path} of the container: {error.strerror}") from error
    try:
        if os.fstat(fd).st_mode & _S_IFMT != _S_IFREG:
            raise InvalidArgument(f"/{path} of the container is not a regular file")
        chunks, size = [], 0
        while chunk := os.read(fd, 1 << 16):
            size += len(chunk)
            if size > _MAX_FILE:
                raise InvalidArgument(f"/{path} of the container is larger than {_MAX_FILE >> 20} MiB")
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
