"""Archives made for tests, honest and hostile ones, and trees written down so that they can be compared."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from typing import TYPE_CHECKING

from tiffin.layer.apply import Applied, apply_layer, extract
from tiffin.layer.tarheader import BLOCK, build_header
from tiffin.layer.tarstream import DEFAULT_LIMITS, Entry, Kind, Limits, TarReader, TarWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def entry(name: str, kind: Kind = Kind.FILE, **rest: object) -> Entry:
    return Entry(name, kind, **rest)  # type: ignore[arg-type] # a test's shorthand


def archive(*members: Entry | tuple[Entry, bytes] | str) -> bytes:
    """A tar of entries, (entry, data) pairs, or names (empty files; directories with a slash at the end)."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for member in members:
        if isinstance(member, str):
            kind = Kind.DIRECTORY if member.endswith("/") else Kind.FILE
            member = Entry(member, kind, mode=0o755 if kind is Kind.DIRECTORY else 0o644)
        if isinstance(member, Entry):
            writer.add(member, b"")
        else:
            member[0].size = len(member[1])
            writer.add(*member)
    writer.finish()
    return out.getvalue()


def raw_member(name: bytes, flag: bytes, data: bytes = b"", **fields: int | bytes) -> bytes:
    """A member as no honest writer makes it; `size` may lie."""
    fields.setdefault("size", len(data))
    fields.setdefault("mode", 0o644)
    header = build_header(name, flag, **fields)  # type: ignore[arg-type] # a test's shorthand
    return header + data + bytes(-len(data) % BLOCK)


def patched(header: bytes, offset: int, field: bytes) -> bytes:
    """A header with a field overwritten and its checksum made right again."""
    header = header[:offset] + field + header[offset + len(field) :]
    total = sum(header[:148]) + sum(header[156:BLOCK]) + 8 * 32
    return header[:148] + b"%06o\0 " % total + header[156:]


def read_all(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data), limits)
    return [(item, b"".join(reader.chunks())) for item in reader]


@contextlib.contextmanager
def directory_fd(path: Path) -> Iterator[int]:
    path.mkdir(exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def apply_to(path: Path, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Applied:
    with directory_fd(path) as fd:
        return apply_layer(io.BytesIO(data), fd, limits)


def extract_to(path: Path, data: bytes, inside: str = "", **rest: object) -> Applied:
    with directory_fd(path) as fd:
        return extract(io.BytesIO(data), fd, inside, **rest)  # type: ignore[arg-type] # a test's shorthand


def described(root: Path, *, times: bool = False) -> dict[str, str]:
    """Each path of a tree in one line: what it is, its mode and owner, its content, its attributes, its time."""
    lines = {}
    inodes: dict[int, str] = {}
    for where, directories, files in os.walk(root):
        for name in sorted(directories + files):
            path = os.path.join(where, name)
            lines[os.path.relpath(path, root)] = _line(path, os.path.relpath(path, root), inodes, times)
    return dict(sorted(lines.items()))


def _line(path: str, relative: str, inodes: dict[int, str], times: bool) -> str:
    status = os.lstat(path)
    kind = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "dir",
        stat.S_IFLNK: "link",
        stat.S_IFIFO: "fifo",
        stat.S_IFCHR: "char",
        stat.S_IFBLK: "block",
        stat.S_IFSOCK: "socket",
    }[stat.S_IFMT(status.st_mode)]
    if kind == "char" and status.st_rdev == 0:
        return "whiteout"
    parts = [kind, f"{stat.S_IMODE(status.st_mode):04o}", f"{status.st_uid}:{status.st_gid}"]
    if kind == "file":
        with open(path, "rb") as file:
            parts.append(hashlib.sha256(file.read()).hexdigest()[:16])
        parts.append(str(status.st_size))
    elif kind == "link":
        parts.append(f"-> {os.readlink(path)}")
    elif kind in ("char", "block"):
        parts.append(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    if kind != "dir" and status.st_nlink > 1:
        parts.append(f"same as {inodes.setdefault(status.st_ino, relative)}")
    if kind in ("file", "dir"):
        for name in sorted(os.listxattr(path)):
            parts.append(f"{name}={os.getxattr(path, name).hex()}")
    if times:
        parts.append(str(status.st_mtime_ns))
    return " ".join(parts)


@contextlib.contextmanager
def canary(tmp_path: Path) -> Iterator[Path]:
    """A tree that nothing may touch: checked when the block is left, whatever happened in it."""
    path = tmp_path / "canary"
    path.mkdir()
    (path / "file").write_text("sings")
    (path / "sub").mkdir()
    (path / "sub" / "file").write_text("sings too")
    os.chmod(path / "file", 0o640)
    before = described(path, times=True)
    status = path.stat()
    yield path
    after = path.stat()
    assert described(path, times=True) == before
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (
        status.st_mode,
        status.st_uid,
        status.st_mtime_ns,
    )
