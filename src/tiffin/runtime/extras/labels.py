"""Labels of security modules: AppArmor profiles and SELinux contexts, where the kernel runs one of the two."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_CONTEXT_TYPES = ("tmpfs", "devpts", "mqueue", "ramfs")
_LONGEST = 4096


def apparmor_enabled(path: str = "/sys/module/apparmor/parameters/enabled") -> bool:
    return _first_letter(path) == "Y"


def selinux_enabled(path: str = "/sys/fs/selinux/enforce") -> bool:
    return os.path.exists(path)


def _first_letter(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(1)
    except OSError:
        return ""


def exec_label(process: Mapping[str, Any]) -> tuple[str, str]:
    """(what to write, where below /proc) so that the command gets its label; ("", "") without one. Raises
    InvalidArgument, Unsupported."""
    profile, context = process.get("apparmorProfile") or "", process.get("selinuxLabel") or ""
    for text in (profile, context):
        if "\0" in text or "\n" in text or len(text) > _LONGEST:
            raise InvalidArgument(f"invalid security label {text[:80]!r}")
    if profile and context:
        raise InvalidArgument("a process has an AppArmor profile or an SELinux label, not both")
    if profile and not apparmor_enabled():
        raise Unsupported(f"cannot apply the AppArmor profile {profile!r}: this kernel does not run AppArmor")
    if context and not selinux_enabled():
        raise Unsupported(f"cannot apply the SELinux label {context!r}: this kernel does not run SELinux")
    if profile:
        own = "self/attr/apparmor/exec"
        return f"exec {profile}", own if os.path.exists(f"/proc/{own}") else "self/attr/exec"
    return (context, "self/attr/exec") if context else ("", "")


def with_mount_label(entry: dict[str, Any], label: str) -> dict[str, Any]:
    """The mount with `linux.mountLabel` as its context. Raises Unsupported."""
    if not label or entry.get("type") not in _CONTEXT_TYPES:
        return entry
    if not selinux_enabled():
        raise Unsupported(f"cannot apply the mount label {label!r}: this kernel does not run SELinux")
    return {**entry, "options": [*(entry.get("options") or ()), f"context={label}"]}
