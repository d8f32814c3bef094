"""The `--name=value` words between an instruction's keyword and its arguments."""

from __future__ import annotations

from tiffin.dockerfile.place import nearest, shown
from tiffin.dockerfile.shell_words import SPACE
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


def read_flags(
    words: list[str], place: Place, known: Iterable[str], lacking: Iterable[str] = ()
) -> dict[str, str]:
    """Name to value, for flags that take a value, each at most once.

    `lacking` are flags that Dockerfiles may use and tiffin does not have: Unsupported. Others:
    DockerfileError with the nearest flag.
    """
    known, lacking = tuple(known), tuple(lacking)
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name in lacking:
            raise place.lacking(f"{place.instruction} --{name}")
        if name not in known:
            hint = nearest(f"--{name}", [f"--{each}" for each in known + lacking])
            raise place.error(f"unknown flag: --{shown(name)}{hint}")
        if name in values:
            raise place.error(f"duplicate flag: --{name}")
        if not equals:
            raise place.error(f"missing a value on flag: --{name}")
        if "\0" in value:
            raise place.error(f"NUL character in --{name}")
        values[name] = value
    return values
