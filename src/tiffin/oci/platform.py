"""Platforms: operating system, architecture and variant, in Go's names (image-spec, image-index.md)."""

import os

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


def _is_word(text: str) -> bool:
    """[A-Za-z0-9_.-]{1,64}"""
    return 0 < len(text) <= 64 and text.isascii() and all(c.isalnum() or c in "_.-" for c in text)


def parse_platform(text: str) -> Platform:
    """`linux/amd64`, `linux/arm64/v8`, `arm64`. Raises InvalidArgument."""
    parts = text.split("/")
    if len(parts) > 3 or not all(map(_is_word, parts)):
        raise InvalidArgument(f"invalid platform {text[:80]!r}: want os/architecture, such as linux/amd64")
    if len(parts) == 1:
        parts.insert(0, "linux")
    return normal(Platform(*parts))


def preferences(wanted: Platform, *, native: bool = False) -> tuple[Platform, ...]:
    """The platforms whose images a machine of platform `wanted` executes, the best first: itself, then the lower
    variants of its architecture. With `native` also the 32-bit architecture that its processors know, which nobody who
    names a platform means."""
    wanted = normal(wanted)
    system, architecture, variant = wanted
    found = [wanted]
    if architecture == "amd64" and (level := _number(variant)):
        found += [Platform(system, "amd64", f"v{n}") for n in range(level - 1, 1, -1)]
        found.append(Platform(system, "amd64"))
    elif architecture == "arm":
        found += [Platform(system, "arm", f"v{n}") for n in range(_number(variant) - 1, 4, -1)]
    elif architecture == "arm64" and variant:
        found.append(Platform(system, "arm64"))
    if native and architecture == "amd64":
        found.append(Platform(system, "386"))
    elif native and architecture == "arm64":
        found += [Platform(system, "arm", f"v{n}") for n in (8, 7, 6, 5)]
    return tuple(found)


def _number(variant: str) -> int:
    """7 of "v7", 0 of what is no such variant."""
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else 0
