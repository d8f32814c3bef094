"""What was probably meant by a base image that is not to be had: a stage, a usual image, another platform."""

from __future__ import annotations

from collections.abc import Sequence

from tiffin.dockerfile.place import nearest
from tiffin.oci.platform import Platform

_USUAL = ("alpine", "almalinux", "busybox", "debian", "fedora", "golang", "node", "python", "ubuntu")
_ARCHITECTURES = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le"),
    *("riscv64", "s390x", "wasm"),
)
_SYSTEMS = ("linux", "windows", "darwin", "freebsd", "wasip1")


def meant(name: str, platform: Platform, stages: Sequence[str]) -> str:
    """` (did you mean X?)`, or ""."""
    system, architecture = platform.os, platform.architecture
    if system not in _SYSTEMS or architecture not in _ARCHITECTURES:
        known = [f"{each}/{other}" for each in _SYSTEMS for other in _ARCHITECTURES]
        return nearest(f"{system}/{architecture}", known)
    names = (*stages, *_USUAL)
    return "" if name.lower() in names else nearest(name.lower(), names)
