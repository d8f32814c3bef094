"""The `--name=value` words between an instruction's keyword and its arguments."""

from __future__ import annotations

from tiffin.dockerfile.place import nearest, shown
from tiffin.dockerfile.shell_words import SPACE
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.dockerfile.place import Place


def split_flags(text: str) -> tuple[list[str], str]:
    """The leading words that begin with `--`, quotes and backslashes removed, and the text after them.

    A lone `--` ends the flags and belongs to neither.
    """
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in SPACE:
            at += 1
        if not text.startswith("--", at):
            return flags, text[at:]
        word, at = _word(text, at)
        if word == "--":
            return flags, text[at:].lstrip(SPACE)
        flags.append(word)


def _word(text: str, at: int) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while at < len(text):
        char = text[at]
        at += 1
        if not quote and char in SPACE:
            break
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == "\\":
            word.append(text[at : at + 1])
            at += 1
        else:
            word.append(char)
    return "".join(word), at


class Flags(Value):
    """The flags of one instruction, by name, each with its values in order."""

    values: dict[str, list[str]]

    def text(self, name: str) -> str:
        """The value of a flag that may be given once; "" when it was not."""
        return self.values.get(name, [""])[0]

    def on(self, name: str) -> bool | None:
        """Whether a switch was turned on; None when it was not given."""
        return self.text(name) == "true" if name in self.values else None

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a flag that may be repeated."""
        return tuple(self.values.get(name, ()))


def read_flags(
    words: list[str],
    place: Place,
    texts: Iterable[str] = (),
    *,
    switches: Iterable[str] = (),
    lists: Iterable[str] = (),
) -> Flags:
    """`texts` take a value and may be given once, `switches` are `--name`, `--name=true` or `--name=false`, `lists`
    take a value and may be repeated. Raises DockerfileError for all else, with the nearest flag.
    """
    known = (*texts, *switches, *lists)
    values: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name not in known:
            hint = nearest(f"--{name}", [f"--{each}" for each in known])
            raise place.error(f"unknown flag: --{shown(name)}{hint}")
        if name in values and name not in lists:
            raise place.error(f"duplicate flag: --{name}")
        if name in switches:
            value = value.lower() if equals else "true"
            if value not in ("true", "false"):
                raise place.error(f"expecting boolean value for flag --{name}, not: {shown(value)}")
        elif not equals:
            raise place.error(f"missing a value on flag: --{name}")
        if "\0" in value:
            raise place.error(f"NUL character in --{name}")
        values.setdefault(name, []).append(value)
    return Flags(values)
