"""The arguments that tell a Dockerfile what it is built for, and where (reference, "Automatic platform ARGs")."""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.oci.platform import Platform


def platform_args(target: Platform, build: Platform) -> dict[str, str]:
    """They are there for FROM without an ARG; in a stage an ARG of that name takes them over."""
    found = {}
    for prefix, platform in (("TARGET", target), ("BUILD", build)):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found
