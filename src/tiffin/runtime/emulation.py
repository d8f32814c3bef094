"""Images for other processors: whether this machine executes them, which is binfmt_misc's to know.

A handler there names an interpreter for executables that begin like the ones of some architecture
(Documentation/admin-guide/binfmt-misc.rst). With the flag F the kernel holds the interpreter open, and it works in any
root filesystem; without, it is looked for in the container's.
"""

from __future__ import annotations

import os
import re

from tiffin.errors import Unsupported
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import shown
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.oci.platform import Platform

BINFMT = "/proc/sys/fs/binfmt_misc"
_HANDLER_MAX = 4096
# Go's names to the ELF header's class (1: 32 bits, 2: 64), byte order (1: little) and machine (elf.h).
_ELF = {
    "386": (1, 1, 3),
    "amd64": (2, 1, 62),
    "arm": (1, 1, 40),
    "arm64": (2, 1, 183),
    "loong64": (2, 1, 258),
    "mips": (1, 2, 8),
    "mipsle": (1, 1, 8),
    "mips64": (2, 2, 8),
    "mips64le": (2, 1, 8),
    "ppc64": (2, 2, 21),
    "ppc64le": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}
# Architectures that the processors of another one execute as well.
_ALSO_NATIVE = {"amd64": ("386",), "arm64": ("arm",)}


class Handler(NamedTuple):
    """An enabled handler that matches by the first bytes of a file."""

    interpreter: str
    flags: str
    offset: int
    magic: bytes
    mask: bytes

    def takes(self, header: bytes) -> bool:
        """Whether it is for a file that begins with `header`."""
        part = header[self.offset : self.offset + len(self.magic)]
        mask = self.mask or b"\xff" * len(self.magic)
        return len(part) == len(self.magic) and all(
            have & bits == want & bits for have, bits, want in zip(part, mask, self.magic, strict=True)
        )


def check(
    platform: Platform, in_root: Callable[[str], bool], *, asked: bool, directory: str = BINFMT
) -> tuple[str, ...]:
    """Lines of warning for an image of `platform`, none when the user `asked` for it or it is the machine's own.
    `in_root` says whether a path exists in the image. Raises Unsupported, with the reason and the remedy, when nothing
    here executes it."""
    host = host_platform()
    if platform.os not in ("linux", ""):
        raise Unsupported(f'image operating system "{shown(platform.os)}" cannot be used on this platform')
    if platform.architecture in ("", host.architecture):
        return ()
    if platform.architecture not in _ALSO_NATIVE.get(host.architecture, ()):
        _require_emulator(platform, host, in_root, directory)
    if asked:
        return ()
    return (
        f"The requested image's platform ({shown(str(platform))}) does not match the detected host platform ({host}) "
        "and no specific platform was requested",
    )


def _require_emulator(
    platform: Platform, host: Platform, in_root: Callable[[str], bool], directory: str
) -> None:
    what = f"cannot run an image for {shown(str(platform))} on this {host} machine"
    elf = _ELF.get(platform.architecture)
    if elf is None:
        raise Unsupported(f"{what}: exec format error; choose another with --platform")
    missing = ""
    for handler in handlers(directory):
        if any(handler.takes(_header(elf, kind)) for kind in (2, 3)):  # ET_EXEC, ET_DYN
            if "F" in handler.flags or in_root(handler.interpreter):
                return
            missing = handler.interpreter
    if missing:
        raise Unsupported(
            f"{what}: its emulator {shown(missing)} is registered without the flag F and is not in the image; "
            "register it anew, as the package qemu-user-static does"
        )
    raise Unsupported(
        f"{what}: exec format error; install an emulator that registers with binfmt_misc (Debian: qemu-user-static), "
        "or choose another image with --platform"
    )


def handlers(directory: str = BINFMT) -> list[Handler]:
    """The enabled handlers that go by magic bytes; none where binfmt_misc is off or not mounted."""
    try:
        names = sorted(os.listdir(directory))
        if "status" not in names or _read(f"{directory}/status").strip() != "enabled":
            return []
    except OSError:
        return []
    parsed = (_parse(_read(f"{directory}/{name}")) for name in names if name not in ("status", "register"))
    return [handler for handler in parsed if handler is not None]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_HANDLER_MAX)
    except OSError:
        return ""


def _parse(text: str) -> Handler | None:
    lines = text.splitlines()
    fields = dict(line.split(" ", 1) for line in lines[1:] if " " in line)
    magic, mask = fields.get("magic", ""), fields.get("mask", "")
    if not lines or lines[0] != "enabled" or not re.fullmatch(r"([0-9a-f]{2})+", magic):
        return None
    if not re.fullmatch(r"([0-9a-f]{2})*", mask) or len(mask) not in (0, len(magic)):
        return None
    flags = next((line.partition(":")[2].strip() for line in lines if line.startswith("flags:")), "")
    offset = fields.get("offset", "0")
    return Handler(
        fields.get("interpreter", ""),
        flags,
        int(offset) if offset.isascii() and offset.isdigit() else 0,
        bytes.fromhex(magic),
        bytes.fromhex(mask),
    )


def _header(elf: tuple[int, int, int], kind: int) -> bytes:
    """The beginning of an executable of that architecture."""
    width, order, machine = elf
    endian = "<" if order == 1 else ">"
    from struct import pack

    return (
        b"\x7fELF" + bytes((width, order, 1, 0)) + bytes(8) + pack(f"{endian}HH", kind, machine) + bytes(12)
    )
