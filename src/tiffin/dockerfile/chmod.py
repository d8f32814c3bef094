"""`--chmod` of COPY and ADD: octal, or symbolic as chmod(1) has it.

    parse_chmod("u=rwX,go=rX").apply(0o640, is_directory=False) -> 0o644

A clause that names nobody means everybody: a build does not depend on anyone's umask. `X` is execute for
directories, and for files that somebody could execute before.
"""

from __future__ import annotations

import re

from tiffin.dockerfile.value import Value
from tiffin.errors import InvalidArgument

_OCTAL = re.compile("0*[0-7]{1,4}")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_MAX_TEXT = 256

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}
_SHIFT = {"u": 6, "g": 3, "o": 0}


class Change(Value):
    """One `+rw` of a clause, for whom the bits `who` are. `permissions` are letters, or the one class to copy."""

    who: int
    operator: str
    permissions: str

    def apply(self, mode: int, *, searchable: bool) -> int:
        who, bits = self.who, 0
        if self.permissions in _SHIFT:
            bits = (mode >> _SHIFT[self.permissions] & 0o7) * 0o111
            who &= 0o777
        elif "t" in self.permissions and who != _WHO["o"]:
            who |= _BITS["t"]
        for char in self.permissions:
            bits |= 0o111 if char == "X" and searchable else _BITS.get(char, 0)
        if self.operator == "-":
            return mode & ~(bits & who)
        if self.operator == "=":
            mode &= ~who
        return mode | bits & who


class Mode(Value):
    """A checked `--chmod`. `octal` is the mode to be, or -1: then `changes` are made one after the other."""

    text: str
    octal: int = -1
    changes: tuple[Change, ...] = ()

    def apply(self, mode: int, is_directory: bool) -> int:
        """The permission bits (07777) that follow from those of `mode`."""
        if self.octal >= 0:
            return self.octal
        before = mode & 0o7777
        searchable = is_directory or bool(before & 0o111)
        for change in self.changes:
            before = change.apply(before, searchable=searchable)
        return before


def parse_chmod(text: str) -> Mode:
    """Raises InvalidArgument for what is neither an octal number up to 7777 nor a symbolic mode."""
    if _OCTAL.fullmatch(text):
        return Mode(text, int(text, 8))
    changes: list[Change] = []
    for clause in text.split(",") if len(text) <= _MAX_TEXT else [""]:
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise InvalidArgument("use octal digits such as 0755, or a symbolic mode such as u=rwX,go=rX")
        who = 0
        for char in found[1] or "a":
            who |= _WHO[char]
        changes += [Change(who, operator, bits) for operator, bits in _ACTION.findall(found[2])]
    return Mode(text, changes=tuple(changes))
