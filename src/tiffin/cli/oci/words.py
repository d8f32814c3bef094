"""The words of a command, as Go programs of this kind read them: flags first, `--name value`, `--name=value`,
`-n value`, then operands, among which nothing is a flag."""

from __future__ import annotations

from tiffin.cli.output import UsageError
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAG, VALUE, LIST, NUMBER = "flag", "value", "list", "number"


class Flag(NamedTuple):
    """`names` without dashes, the first is what it is known by. `metavar` only of those with a value."""

    names: tuple[str, ...]
    kind: str
    help: str
    metavar: str = ""
    default: Any = None

    @property
    def key(self) -> str:
        return self.names[0].replace("-", "_")

    def start(self) -> Any:
        if self.default is not None:
            return self.default
        return {FLAG: False, VALUE: "", LIST: [], NUMBER: 0}[self.kind]


class Words(dict[str, Any]):
    """Flag values by key; `operands` the rest."""

    operands: list[str]
    given: set[str]

    def __getattr__(self, name: str) -> Any:
        return self[name]


def read_words(words: Sequence[str], flags: Sequence[Flag], who: str) -> Words:
    """Raises UsageError (exit 1)."""
    known = {name: flag for flag in flags for name in flag.names}
    found = Words({flag.key: list(flag.start()) if flag.kind == LIST else flag.start() for flag in flags})
    found.given = set()
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        flag = known.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}; see '{who} --help'", 1)
        found.given.add(flag.key)
        if flag.kind == FLAG:
            if equals and value not in ("true", "false"):
                raise UsageError(f"invalid boolean value {value!r} for --{name}", 1)
            found[flag.key] = value != "false"
            continue
        if not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: --{name}", 1)
            value = rest.pop(0)
        if flag.kind == LIST:
            found[flag.key].append(value)
        else:
            found[flag.key] = _number(name, value) if flag.kind == NUMBER else value
    found.operands = rest
    return found


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise UsageError(f"invalid value {value!r} for --{name}: want a number", 1) from error


def describe(flags: Sequence[Flag]) -> str:
    """The lines of a help text."""
    lines = []
    for flag in flags:
        names = ", ".join(
            f"-{name}" if len(name) == 1 else f"--{name}" for name in sorted(flag.names, key=len)
        )
        shown = f"{names} {flag.metavar}".rstrip()
        lines.append(f"  {shown:<28} {flag.help}")
    return "\n".join(lines)
