"""Files of build contexts: everything that a file can be, named in sets, and how it is put on disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile  # noqa: TID251 - makes archives as other programs do
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.images import CACHE, once

MTIME = 1_000_000_000
# cap_net_raw+ep as the kernel keeps it (version 2); all its bytes are below 128, so it is text too
CAPABILITY = "\x01\x00\x00\x02\x00\x20" + 14 * "\x00"
_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
}


class Made(NamedTuple):
    """One thing of a context. `twin` is the file that this is another name for; `size` that of a file with nothing in
    it but a hole; a `program` is compiled when it is needed."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""
    twin: str = ""
    kind: int = stat.S_IFREG
    uid: int = 1000
    gid: int = 1000
    mtime: float = MTIME
    size: int = -1
    capability: bool = False
    program: bool = False


def file(
    text: str | bytes = "", mode: int = 0o644, uid: int = 1000, gid: int = 1000, mtime: float = MTIME
) -> Made:
    return Made(text.encode() if isinstance(text, str) else text, mode, uid=uid, gid=gid, mtime=mtime)


def directory(mode: int = 0o755, uid: int = 1000, gid: int = 1000, mtime: float = MTIME) -> Made:
    return Made(mode=mode, kind=stat.S_IFDIR, uid=uid, gid=gid, mtime=mtime)


def link(to: str) -> Made:
    return Made(link=to, kind=stat.S_IFLNK)


def tar(entries: Mapping[str, Made], pack: Callable[[bytes], bytes] = bytes) -> Made:
    """A file that is an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, made in entries.items():
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = made.mode, made.uid, made.gid, made.mtime
            info.type, info.linkname = _TYPES[made.kind], made.link
            if made.kind == stat.S_IFCHR:  # /dev/null
                info.devmajor, info.devminor = 1, 3
            if made.twin:
                info.type, info.linkname = tarfile.LNKTYPE, made.twin
            if made.capability:
                info.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY}
            info.size = len(made.data)
            archive.addfile(info, io.BytesIO(made.data))
    return file(pack(out.getvalue()))


def lay(top: Path, files: Mapping[str, Made]) -> None:
    """Make a context in the new directory `top`."""
    top.mkdir()
    for name, made in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if made.twin:
            os.link(top / made.twin, path)
        elif made.kind == stat.S_IFLNK:
            path.symlink_to(made.link)
        elif made.kind == stat.S_IFDIR:
            path.mkdir(exist_ok=True)
        elif made.kind == stat.S_IFIFO:
            os.mkfifo(path)
        else:
            path.write_bytes(_program() if made.program else made.data)
            if made.size >= 0:
                os.truncate(path, made.size)
    _dress(top, files)


def _dress(top: Path, files: Mapping[str, Made]) -> None:
    """Owners, modes and times: of what is deepest first, for a directory's time changes with what is in it."""
    for path in sorted((top, *top.rglob("*")), reverse=True):
        found = files.get(str(path.relative_to(top)), directory())
        if found.twin:
            continue
        os.chown(path, found.uid, found.gid, follow_symlinks=False)
        if found.kind != stat.S_IFLNK:
            path.chmod(found.mode)
        os.utime(path, (found.mtime, found.mtime), follow_symlinks=False)


_TREE = {
    "f": file("f\n", 0o640),
    "d": directory(0o755),
    "d/run": file("#!/bin/sh\n", 0o755),
    "d/link": link("sub/x"),
    "d/sub": directory(0o2750),
    "d/sub/x": file("x\n"),
    "d/.hidden": file("hidden\n", 0o600),
    "d/none": directory(0o700),
}
_INSIDE = {
    "top": directory(0o750, 5, 6),
    "top/f": file("f\n", 0o640, 7, 8, 1_100_000_000),
    "top/suid": file("s", 0o4755, 0, 0),
    "top/l": link("f"),
    "top/abs": link("/etc/passwd"),
    "top/hard": Made(twin="top/f", mode=0o640, uid=7, gid=8, mtime=1_100_000_000),
    "top/fifo": Made(kind=stat.S_IFIFO, mode=0o600),
    "top/null": Made(kind=stat.S_IFCHR, mode=0o666),
    "loose/x": file("parents are not in the archive"),
}
_IGNORED = (
    *("a", "b.out", "keep.out", "sub/a", "sub/b.out", "sub/deep/c.out", "sub/deep/d", "tmp/x", "tmp/y/z"),
    *("t1", "t2", "t34", ".git/config", ".env", "node_modules/m/i", "with space", "#hash", "!bang"),
    *("emptied/x.log", "un/x.log", "un/y"),
)
_SETTER = """
#include <sys/xattr.h>
int main(int argc, char **argv) {
    (void)argc; /* cap_net_raw+ep */
    return setxattr(argv[1], argv[2], "\\1\\0\\0\\2\\0\\x20\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0", 20, 0) != 0;
}
"""


def _program() -> bytes:
    """A static program, `set FILE ATTRIBUTE`, which gives the file a capability as the attribute."""

    def make(path: Path) -> None:
        command = ["cc", "-static", "-O1", "-x", "c", "-o", str(path), "-"]
        subprocess.run(command, input=_SETTER.encode(), check=True, timeout=60)

    return once(CACHE / "set-attribute", make).read_bytes()


SETS: dict[str, dict[str, Made]] = {
    "tree": _TREE,
    "tree without run": {name: made for name, made in _TREE.items() if name != "d/run"},
    "odd": {
        "o/with space": file("1"),
        "o/br[ack]et": file("2"),
        "o/st*r": file("3"),
        "o/qu?ry": file("4"),
        "o/back\\slash": file("5"),
        "o/$dollar": file("6"),
        "o/ümlaut": file("7"),
        "o/#hash": file("8"),
        "o/" + "long" * 40: file("9"),
        **{f"o/{name}": file(name) for name in ("a", "b", "c1")},
    },
    "links": {"l1": link("f"), "dl": link("d")},
    "modes": {
        "m/suid": file("1", 0o4755),
        "m/sgid": file("2", 0o2711),
        "m/sticky": file("3", 0o1644),
        "m/none": file("4", 0o000),
        "m/all": file("5", 0o777),
        "m/td": directory(0o1777),
        "m/sd": directory(0o2775),
        "m/ud": directory(0o4700),
    },
    "times": {
        "t": directory(mtime=5),
        "t/old": file("1", mtime=1),
        "t/zero": file("2", mtime=0),
        "t/far": file("3", mtime=4_102_444_800),
        "t/fine": file("4", mtime=1_234_567_890.625),
        "t/sub": directory(mtime=86_400),
        "t/sub/x": file("5", mtime=100),
    },
    "twins": {"h/one": file("same"), "h/two": Made(twin="h/one"), "h/d/three": Made(twin="h/one")},
    "special": {
        "s/pipe": Made(kind=stat.S_IFIFO, mode=0o640),
        "s/l": link("/etc/passwd"),
        "s/n": link("nowhere"),
    },
    "holes": {"h": Made(size=3_000_000), "e": file()},
    "empty": {"e": directory(0o711), "e/e2": directory(0o700)},
    "ignored": {name: file(name) for name in _IGNORED},
    "packed": {
        "a.tar": tar(_INSIDE),
        "a.tgz": tar(_INSIDE, gzip.compress),
        "a.tbz": tar(_INSIDE, bz2.compress),
        "a.txz": tar(_INSIDE, lzma.compress),
    },
    "files": {"f": file("f", 0o600), "d/g": file("g"), "d/l": link("g")},
    "pretenders": {
        "text.tar": file("no archive"),
        "packed.gz": file(gzip.compress(b"no archive", mtime=0)),
        "empty.tar": file(),
    },
    "disguised": {"a.txt": tar(_INSIDE)},
    "capable": {
        "c.tar": tar(
            {
                "c": file("c", 0o755, 0, 0)._replace(capability=True),
                "d": file("d", 0o755, 3, 4)._replace(capability=True),
            }
        )
    },
    "setter": {"set": Made(mode=0o755, program=True)},
    "below": {"d/a.tar": tar(_INSIDE)},
    "mounted": {
        "f": file("f\n", 0o640),
        "d/sub": directory(0o2750),
        "d/sub/x": file("x\n"),
        "d/run": file("#!/bin/sh\n", 0o755),
        "d/link": link("sub/x"),
        "left.out": file("never"),
        ".dockerignore": file("*.out\n.dockerignore\n"),
    },
}
