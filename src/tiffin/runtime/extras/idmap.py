"""Mappings of user and group ids (config-linux, "User namespace mappings"; user_namespaces(7))."""

from __future__ import annotations

import os
from itertools import pairwise

from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel.namespaces import CLONE_NEWUSER, unshare
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_MOST = 340  # entries that the kernel takes
_MAX = (1 << 32) - 2


class Range(NamedTuple):
    """`size` ids from `inside` (the container's) are those from `outside` (the machine's)."""

    inside: int
    outside: int
    size: int


class Mappings(NamedTuple):
    uid: tuple[Range, ...]
    gid: tuple[Range, ...]


def mappings_of(holder: Mapping[str, Any], what: str) -> Mappings | None:
    """`uidMappings` and `gidMappings` of `linux` or of a mount; None when it has neither. Raises InvalidArgument."""
    uid = _ranges(holder.get("uidMappings") or (), f"{what}.uidMappings")
    gid = _ranges(holder.get("gidMappings") or (), f"{what}.gidMappings")
    if bool(uid) != bool(gid):
        raise InvalidArgument(f"{what}: give both uidMappings and gidMappings, or neither")
    return Mappings(uid, gid) if uid else None


def _ranges(entries: Sequence[Mapping[str, int]], what: str) -> tuple[Range, ...]:
    found = tuple(Range(entry["containerID"], entry["hostID"], entry["size"]) for entry in entries)
    if len(found) > _MOST:
        raise InvalidArgument(f"{what}: the kernel takes {_MOST} ranges, not {len(found)}")
    for entry in found:
        if entry.size == 0 or entry.inside + entry.size - 1 > _MAX or entry.outside + entry.size - 1 > _MAX:
            raise InvalidArgument(
                f"{what}: the range {entry.inside}:{entry.outside}:{entry.size} is empty or too large"
            )
    for at in (0, 1):
        ordered = sorted(found, key=lambda entry: entry[at])
        for first, second in pairwise(ordered):
            if first[at] + first.size > second[at]:
                raise InvalidArgument(f"{what}: two ranges overlap at {second[at]}")
    return found


def host_id(ranges: Sequence[Range], inside: int) -> int:
    """The machine's number of a container's id; -1 when it has none."""
    for entry in ranges:
        if entry.inside <= inside < entry.inside + entry.size:
            return entry.outside + inside - entry.inside
    return -1


def write_maps(pid: int, mappings: Mappings) -> None:
    """Of the user namespace that our child `pid` has just made."""
    with step("map the container's user and group ids"):
        for name, ranges in (("gid_map", mappings.gid), ("uid_map", mappings.uid)):
            text = "".join(f"{entry.inside} {entry.outside} {entry.size}\n" for entry in ranges)
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)


def user_namespace(mappings: Mappings) -> int:
    """A descriptor of a user namespace with these mappings and no process in it, for MOUNT_ATTR_IDMAP."""
    alive, end = os.pipe2(os.O_CLOEXEC)
    made, done = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(end)
            os.close(made)
            unshare(CLONE_NEWUSER)
            os.write(done, b"\1")
            os.read(alive, 1)
        finally:
            os._exit(0)
    os.close(alive)
    os.close(done)
    try:
        if os.read(made, 1) != b"\1":
            raise EngineError("cannot make a user namespace for a mount's id mapping")
        write_maps(pid, mappings)
        with step("open the user namespace of a mount's id mapping"):
            return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(end)
        os.close(made)
        os.waitpid(pid, 0)
