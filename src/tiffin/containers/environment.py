"""The environment of a container's processes, by Docker's rules."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.containers.record import ContainerRecord

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge_env(given: Sequence[str], image: Sequence[str]) -> tuple[str, ...]:
    """The caller's variables, later ones winning, then the image's that they do not name."""
    chosen: dict[str, str] = {}
    for entry in given:
        key, equals, value = entry.partition("=")
        if not key or "\0" in entry:
            raise InvalidArgument(f"invalid environment variable: {entry!r}")
        if equals:
            chosen[key] = value
        elif key in os.environ:
            chosen[key] = os.environ[key]
    merged = [f"{key}={value}" for key, value in chosen.items()]
    return (*merged, *(entry for entry in image if entry.partition("=")[0] not in chosen))


def process_env(record: ContainerRecord, tty: bool | None = None) -> tuple[str, ...]:
    """The first process's environment as Docker makes it: defaults first, each only when not given."""
    given = {entry.partition("=")[0] for entry in record.env}
    standard = [_PATH, f"HOSTNAME={record.hostname}"]
    if record.tty if tty is None else tty:
        standard.append("TERM=xterm")
    return (*(entry for entry in standard if entry.partition("=")[0] not in given), *record.env)
