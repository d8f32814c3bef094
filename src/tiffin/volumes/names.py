"""The grammar of volume names. Pure."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_LONGEST = 255  # it is a directory's name


def check_name(name: str) -> str:
    """The name, if it is one: [a-zA-Z0-9][a-zA-Z0-9_.-]+. Raises InvalidArgument."""
    if len(name) < 2 or name[0] not in _FIRST or not _REST.issuperset(name):
        raise InvalidArgument(
            f"{name!r} includes invalid characters for a local volume name, only "
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]+" is allowed; to mount a host directory, write an absolute path'
        )
    if len(name) > _LONGEST:
        raise InvalidArgument(f"volume name {name[:40]}... is too long: at most {_LONGEST} characters")
    return name
