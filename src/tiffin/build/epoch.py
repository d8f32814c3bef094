"""SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch): builds that depend on nothing but their input.

Whoever builds sets it, in the environment or with --build-arg. Then

    created, history    say that time, and nothing of the base's history says a later one
    layers              no entry is younger
    context             modes are what a checkout has, whatever the umask: see `checkout_mode`
    keys                differ for another time

Times are nanoseconds; -1 stands for no epoch.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from tiffin.errors import InvalidArgument
from tiffin.typed import Any

VARIABLE = "SOURCE_DATE_EPOCH"
NO_EPOCH = -1
_LATEST = 253402300799  # seconds: the last that RFC 3339 can say


def with_epoch(build_args: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The build arguments, with the environment's SOURCE_DATE_EPOCH unless they have one."""
    found = dict(build_args)
    if environment.get(VARIABLE):
        found.setdefault(VARIABLE, environment[VARIABLE])
    return found


def epoch_of(build_args: Mapping[str, str]) -> int:
    """The time that the arguments set, NO_EPOCH when they set none. Raises InvalidArgument."""
    text = build_args.get(VARIABLE, "")
    if not text:
        return NO_EPOCH
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= _LATEST):
        raise InvalidArgument(
            f"invalid {VARIABLE} {text[:40]!r}: want seconds since 1970, such as 1700000000"
        )
    return int(text) * 10**9


def checkout_mode(mode: int) -> int:
    """A mode as a checkout has it: group and others may do what the owner may, but for writing. Of two people who
    fetch the same source, one with umask 077, both get the same."""
    return mode & ~0o077 | (mode & 0o500) >> 3 | (mode & 0o500) >> 6


def narrowed(mode: int) -> bool:
    """Whether `checkout_mode` lets others read what `mode` keeps from them: more than a umask of 022 would."""
    return not stat.S_ISLNK(mode) and bool(checkout_mode(mode) & ~mode & 0o055)


def clamp_times(top: int, latest: int) -> None:
    """Give everything below the directory `top` that is younger than `latest` that time."""
    from tiffin.layer.walk import is_whiteout, walk

    for node in walk(top):
        if node.status.st_mtime_ns > latest and not is_whiteout(node.status):
            os.utime(node.name, ns=(latest, latest), dir_fd=node.parent_fd, follow_symlinks=False)


def clamp_history(history: list[dict[str, Any]], epoch: int) -> list[dict[str, Any]]:
    """The history with no entry later than `epoch`."""
    from tiffin.oci.image import format_time, parse_time

    return [
        {**entry, "created": format_time(epoch)} if parse_time(entry.get("created")) > epoch else entry
        for entry in history
    ]
