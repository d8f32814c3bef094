"""Platforms: operating system, architecture and variant, in Go's names (image-spec, image-index.md)."""

import os
import re

from tiffin.errors import InvalidArgument
from tiffin.typed import NamedTuple

# What users and other tools write, to the spec's (architecture, variant).
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
}


class Platform(NamedTuple):
    """What an image runs on. `variant` is "" where the architecture has none or only a default."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def runs(self, other: "Platform") -> bool:
        """Whether a machine of this platform is meant by an image of platform `other`."""
        return self == normal(other)


def normal(platform: Platform) -> Platform:
    """Aliases resolved and default variants dropped, so that equal platforms compare equal."""
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    if architecture in _ARCHITECTURES:
        architecture, known = _ARCHITECTURES[architecture]
        variant = variant or known
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    if (architecture, variant) == ("arm", ""):
        variant = "v7"
    return Platform(platform.os.lower(), architecture, variant)


def host_platform() -> Platform:
    """The platform of this machine."""
    return normal(Platform("linux", os.uname().machine))


def parse_platform(text: str) -> Platform:
    """`linux/amd64`, `linux/arm64/v8`, `arm64`. Raises InvalidArgument."""
    parts = text.split("/")
    if len(parts) > 3 or not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", part) for part in parts):
        raise InvalidArgument(f"invalid platform {text[:80]!r}: want os/architecture, such as linux/amd64")
    if len(parts) == 1:
        parts.insert(0, "linux")
    return normal(Platform(*parts))
