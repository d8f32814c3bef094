"""`--filter` of images: key=value pairs to tests of rows, by Docker's rules (docs.docker.com, docker image ls).

Of one key given several times, every `label`, `before`, `since` and `until` must hold, and any `reference` may.
"""

import re
import time

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from tiffin.images.records import Summary

KNOWN = ("before", "dangling", "label", "label!", "reference", "since", "until")
_TRUE, _FALSE = ("1", "true", "t"), ("0", "false", "f")
_PATTERN_MAX = 1024


class Filters(NamedTuple):
    """`tests` take a row; `references` are patterns of names of which those that match are kept, none for all;
    `dangling` None for both kinds."""

    tests: "tuple[Callable[[Summary], bool], ...]" = ()
    references: tuple[str, ...] = ()
    dangling: bool | None = None


def parse_filters(
    db: "sqlite3.Connection", texts: "Sequence[str]", known: "Sequence[str]" = KNOWN
) -> Filters:
    """Raises InvalidArgument for a filter that is none, NotFound for an image that `before` or `since` names."""
    tests: list[Callable[[Summary], bool]] = []
    references: list[str] = []
    dangling: bool | None = None
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not equals:
            raise InvalidArgument(f"bad format of filter '{text}': want name=value")
        if key not in known:
            raise InvalidArgument(f"invalid filter '{key}'; known: {', '.join(known)}")
        if key == "dangling":
            dangling = _boolean(value)
        elif key == "reference":
            check_pattern(value)
            references.append(value)
        elif key == "until":
            tests.append(_until(moment(value)))
        elif key in ("before", "since"):
            tests.append(_beside(db, key, value))
        else:
            tests.append(_label(db, value, wanted=key == "label"))
    return Filters(tuple(tests), tuple(references), dangling)


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise InvalidArgument(f"invalid filter 'dangling={text}'; want true or false")
    return text.lower() in _TRUE


def _until(bound: int) -> "Callable[[Summary], bool]":
    return lambda row: row.created <= bound


def _beside(db: "sqlite3.Connection", key: str, name: str) -> "Callable[[Summary], bool]":
    from tiffin.images.records import find_image

    created = find_image(db, name).created
    if key == "before":
        return lambda row: row.created < created
    return lambda row: row.created > created


def _label(db: "sqlite3.Connection", text: str, *, wanted: bool) -> "Callable[[Summary], bool]":
    name, equals, value = text.partition("=")

    def test(row: "Summary") -> bool:
        labels = _labels(db, row.id)
        return (name in labels and (not equals or labels[name] == value)) is wanted

    return test


def _labels(db: "sqlite3.Connection", image: str) -> dict[str, str]:
    import json

    row = db.execute("SELECT config FROM images WHERE id = ?", (image,)).fetchone()
    return (json.loads(row[0]).get("config") or {}).get("Labels") or {}


def moment(text: str) -> int:
    """Nanoseconds since the epoch of a Unix time, a duration before now (10m, 1h30m), or a date with or without a time
    and a zone. Raises InvalidArgument."""
    from tiffin.dockerfile.durations import parse_duration

    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return int(float(text) * 10**9)
    try:
        return time.time_ns() - parse_duration(text)
    except ValueError:
        pass
    import datetime

    try:
        when = datetime.datetime.fromisoformat(text)
        return int((when if when.tzinfo else when.astimezone()).timestamp() * 10**9)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"invalid filter 'until={text}'; want a date, a Unix time, or a duration such as 24h"
        ) from error


# -- patterns of names -----------------------------------------------------------------------------------------


def check_pattern(pattern: str) -> None:
    """Raises InvalidArgument for what path_match cannot read."""
    if len(pattern) > _PATTERN_MAX or any(_pieces(part) is None for part in pattern.split("/")):
        raise InvalidArgument(f"syntax error in pattern '{pattern[:100]}': an unclosed [ or a \\ at the end")


def path_match(pattern: str, text: str) -> bool:
    """Go's path.Match: `*` any run without /, `?` one character, `[a-z]` and `[^a]` one of a set, `\\x` x itself. The
    time is at most the product of the lengths."""
    wanted, given = pattern.split("/"), text.split("/")
    return len(wanted) == len(given) and all(map(_match_part, wanted, given))


def _match_part(pattern: str, text: str) -> bool:
    pieces = _pieces(pattern) or []
    at = star = -1
    mark = place = 0
    at = 0
    while place < len(text):
        piece = pieces[at] if at < len(pieces) else ""
        if piece == "*":
            star, mark = at, place
            at += 1
        elif piece and _fits(piece, text[place]):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return all(piece == "*" for piece in pieces[at:])


def _pieces(pattern: str) -> list[str] | None:
    """The pattern cut into "*", "?", sets and escaped characters; None when it is malformed."""
    pieces = re.findall(r"\\.|\[\^?(?:\\.|[^\]\\])+\]|[^\[\\]", pattern, re.DOTALL)
    return pieces if sum(map(len, pieces)) == len(pattern) else None


def _fits(piece: str, character: str) -> bool:
    if piece == "?":
        return True
    if piece.startswith("\\"):
        return character == piece[1:]
    if len(piece) == 1:
        return character == piece
    inner = re.findall(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", piece[1:-1].removeprefix("^"), re.DOTALL)
    found = any(low[-1] <= character <= (high or low)[-1] for low, high in inner)
    return found is not piece.startswith("[^")
