"""The id mapping of a mount: which owner on disk is shown as which in the container, and back.

    idmap                                       the source's owner and group are root in the container
    idmap=uids=1000-0-1#2000-5-10;gids=1000-0-1 from the disk's first to the container's first, so many

Pure. Ranges are those of a user namespace (user_namespaces(7)); ids outside them are nobody's, and cannot be made.
"""

from __future__ import annotations

from itertools import pairwise

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 340  # lines that the kernel takes
_LAST = 0xFFFFFFFE


class IdRange(NamedTuple):
    """`size` ids that are `disk` and following in the files, `seen` and following in the container."""

    disk: int
    seen: int
    size: int


def parse_idmap(text: str, what: str) -> dict[str, tuple[IdRange, ...]]:
    """{"uids": ranges, "gids": ranges}; one that is left out is like the other. Raises InvalidArgument."""
    found: dict[str, tuple[IdRange, ...]] = {}
    for part in text.split(";"):
        kind, equals, ranges = part.partition("=")
        if kind not in ("uids", "gids") or not equals or kind in found:
            raise InvalidArgument(
                f"invalid idmap '{text}' in {what}: write idmap=uids=0-1000-1;gids=0-1000-1"
            )
        found[kind] = _ranges(ranges.split("#"), what)
    given = next(iter(found.values()))
    return {"uids": found.get("uids", given), "gids": found.get("gids", given)}


def _ranges(words: list[str], what: str) -> tuple[IdRange, ...]:
    if len(words) > _MOST:
        raise InvalidArgument(f"invalid idmap in {what}: at most {_MOST} ranges")
    found = []
    for word in words:
        numbers = word.split("-")
        if len(numbers) != 3 or not all(one.isascii() and one.isdigit() and len(one) < 11 for one in numbers):
            raise InvalidArgument(f"invalid idmap range '{word}' in {what}: want DISK-CONTAINER-SIZE")
        made = IdRange(*map(int, numbers))
        if not made.size or made.disk + made.size - 1 > _LAST or made.seen + made.size - 1 > _LAST:
            raise InvalidArgument(f"invalid idmap range '{word}' in {what}: it is empty or too large")
        found.append(made)
    for at in (0, 1):
        ordered = sorted(found, key=lambda one: one[at])
        for first, second in pairwise(ordered):
            if first[at] + first.size > second[at]:
                raise InvalidArgument(f"invalid idmap in {what}: two ranges overlap at {second[at]}")
    return tuple(found)


def owner_as_root(owner: int) -> tuple[IdRange, ...]:
    """The owner on disk is root in the container, and root's files are nobody's there; all others stay who they are."""
    if owner == 0:
        return (IdRange(0, 0, _LAST),)
    return tuple(
        one
        for one in (
            IdRange(owner, 0, 1),
            IdRange(1, 1, owner - 1),
            IdRange(owner + 1, owner + 1, _LAST - owner),
        )
        if one.size
    )


def as_document(ranges: Iterable[IdRange]) -> list[dict[str, int]]:
    """As the OCI runtime specification has a mount's `uidMappings` and `gidMappings`."""
    return [{"containerID": one.disk, "hostID": one.seen, "size": one.size} for one in ranges]
