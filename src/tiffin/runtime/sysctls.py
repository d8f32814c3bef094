"""Kernel settings that a container may have of its own: an allow-list, since the others are the whole
machine's."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

_IPC = (
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def sysctl_path(name: str, value: str, namespaces: frozenset[str]) -> str:
    """The file below /proc/sys for `name` ("net.ipv4.ip_forward"; a "/" stands for a dot within a part).
    `namespaces` are the kinds that the container has of its own. Raises InvalidArgument."""
    if not _LETTERS.issuperset(name) or any(c in value for c in "\n\0"):
        raise InvalidArgument(
            f"invalid sysctl {name!r}: letters, digits and _-./ only, and one line of value"
        )
    parts = [part.replace("/", ".") for part in name.split(".")]
    if any(part.strip(".") == "" for part in parts):
        raise InvalidArgument(f"invalid sysctl {name!r}: an empty part")
    needs = _namespace_of(name)
    if not needs:
        raise InvalidArgument(f"sysctl {name!r} is not in a separate kernel namespace; set it on the host")
    if needs not in namespaces:
        raise InvalidArgument(
            f"sysctl {name!r} not allowed: the container shares the host's {needs} namespace; set it on the host"
        )
    return "/".join(parts)


def _namespace_of(name: str) -> str:
    if name in _IPC or name.startswith("fs.mqueue."):
        return "ipc"
    if name.startswith("net."):
        return "network"
    if name == "kernel.domainname":
        return "uts"
    return ""
