"""The words of a command, in Docker's manner: options before and between operands, `-it`, `--flag=false`, its error
texts and exit codes, and help with examples.

argparse would do it at 4 ms a command, two thirds of them for translations that there are none of; and it guesses where
Docker does not: what follows an option that takes a value is that value, whatever it looks like.
"""

import os
import sys

from tiffin.cli.output import UsageError
from tiffin.cli.table import Command
from tiffin.typed import Any, Callable, NamedTuple, NoReturn, Sequence

REST = "..."
"""nargs of a last operand that takes every word from there on, options too."""

_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_COLUMN = 34


class Namespace:
    """What was parsed, one attribute for each option and operand; `given` has the options that were in the words."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Option(NamedTuple):
    """One option. `action` is "switch", "store", "append" or "optional"; `names` have their dashes."""

    names: tuple[str, ...]
    dest: str
    action: str
    type: Callable[[str], Any]
    choices: tuple[str, ...]
    metavar: str
    help: str


class Operand(NamedTuple):
    """One operand. `nargs`: "" one, "?" at most one, "+" one or more, "*" any number, REST all from there on."""

    dest: str
    nargs: str
    metavar: str
    help: str


class HelpPrinted(Exception):
    """`--help` was among the words; it has been printed."""


class CommandParser:
    """The parser of one command."""

    def __init__(self, command: Command, description: str = "", examples: str = "") -> None:
        self.command = command
        self._description, self._examples = description, examples
        self.options: list[Option] = []
        self._by_name: dict[str, Option] = {}
        self._operands: list[Operand] = []
        self._defaults: dict[str, Any] = {}
        self.switch("--help", help="show this help and exit")

    def switch(self, *names: str, help: str, default: bool = False) -> None:
        """An option without a value: `--rm`, `--rm=true`, `--rm=false`."""
        self._add(Option(names, _dest(names), "switch", str, (), "", help), default)

    def add_argument(
        self,
        *names: str,
        default: Any = "",
        action: str = "store",
        type: Callable[[str], Any] = str,
        choices: Sequence[str] = (),
        nargs: str = "",
        metavar: str = "",
        help: str = "",
    ) -> None:
        """An option with a value (its names begin with a dash), or an operand. "append" collects a list; "optional"
        takes a value only after `=`, and is "" without: `given` tells whether it was there."""
        if names[0].startswith("-"):
            shown = metavar or "|".join(choices)
            self._add(Option(names, _dest(names), action, type, tuple(choices), shown, help), default)
        else:
            self._operands.append(Operand(names[0], nargs, metavar or names[0], help))
            self._defaults[names[0]] = default

    def _add(self, option: Option, default: Any) -> None:
        self.options.append(option)
        self._defaults[option.dest] = default
        for name in option.names:
            self._by_name[name] = option

    def error(self, message: str, *, operands: bool = False) -> NoReturn:
        """Docker, with any command: 125 for a wrong flag, 1 for too few or too many `operands`."""
        raise UsageError(f"{message}; see 'tiffin {self.command.shown} --help'", 1 if operands else 125)

    def parse(self, words: Sequence[str]) -> Namespace:
        """Raises UsageError, HelpPrinted."""
        args = Namespace()
        for dest, default in self._defaults.items():
            setattr(args, dest, list(default) if isinstance(default, list) else default)
        rest = list(words)
        operands: list[str] = []
        to_the_end = any(operand.nargs == REST for operand in self._operands)
        while rest:
            word = rest.pop(0)
            if word == "--":
                operands += rest
                break
            if word == "-" or not word.startswith("-"):
                operands.append(word)
                if to_the_end:
                    operands += rest
                    break
            elif word.startswith("--"):
                self._long(args, word, rest)
            else:
                self._short(args, word, rest)
        if args.help:
            self.print_help()
            raise HelpPrinted
        self._place(args, operands)
        return args

    def _long(self, args: Namespace, word: str, rest: list[str]) -> None:
        name, equals, value = word.partition("=")
        option = self._by_name.get(name)
        if option is None:
            self.error(f"unknown flag: {name}")
        if option.action == "switch":
            self._set_switch(args, option, name, value if equals else "true")
        elif option.action == "optional" and not equals:
            args.given.add(option.dest)
        else:
            self._set(args, option, value if equals else self._next(name, rest))

    def _short(self, args: Namespace, word: str, rest: list[str]) -> None:
        """`-d`, `-it`, `-p 80`, `-p80`, `-p=80`, `-itp 80`"""
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            option = self._by_name.get(name)
            if option is None:
                self.error(
                    f"unknown flag: {word}"
                    if len(word) == 2
                    else f"unknown shorthand flag: '{name[1]}' in {word}"
                )
            given = letters.removeprefix("=") if letters else None
            if option.action != "switch":
                self._set(args, option, self._next(name, rest) if given is None else given)
                return
            if letters.startswith("="):
                self._set_switch(args, option, name, str(given))
                return
            setattr(args, option.dest, True)

    def _next(self, name: str, rest: list[str]) -> str:
        if not rest:
            self.error(f"flag needs an argument: {name}")
        return rest.pop(0)

    def _set_switch(self, args: Namespace, option: Option, name: str, value: str) -> None:
        if value.lower() not in _BOOLEANS:
            self.error(f'invalid argument "{value}" for "{name}": want true or false')
        setattr(args, option.dest, _BOOLEANS[value.lower()])
        args.given.add(option.dest)

    def _set(self, args: Namespace, option: Option, text: str) -> None:
        shown = ", ".join(option.names)
        try:
            value = option.type(text)
        except ValueError:
            self.error(f'invalid argument "{text}" for "{shown}": want a whole number')
        if option.choices and value not in option.choices:
            self.error(f'invalid argument "{text}" for "{shown}": want {" or ".join(option.choices)}')
        args.given.add(option.dest)
        if option.action == "append":
            getattr(args, option.dest).append(value)
        else:
            setattr(args, option.dest, value)

    def _place(self, args: Namespace, words: list[str]) -> None:
        missing = [operand.metavar for operand in self._operands[len(words) :] if operand.nargs in ("", "+")]
        if missing:
            self.error(f"requires {', '.join(missing)}", operands=True)
        for operand in self._operands:
            if operand.nargs in ("+", "*", REST):
                setattr(args, operand.dest, words)
                words = []
            elif words:
                setattr(args, operand.dest, words.pop(0))
        if words:
            self.error(f'unexpected argument "{words[0]}"', operands=True)

    def print_help(self) -> None:
        """Usage, description, operands that need explaining, options, examples."""
        operands = [(f"  {operand.metavar}", operand.help) for operand in self._operands if operand.help]
        options = [
            (f"  {', '.join(option.names)}{shown_value(option)}", option.help) for option in self.options
        ]
        parts = [f"Usage: tiffin {self.command.shown} {self.command.usage}", self._description.strip()]
        for title, rows in (("Operands:", operands), ("Options:", options)):
            if rows:
                parts.append("\n".join([title, *_columns(rows, _width())]))
        if self._examples:
            parts.append("Examples:\n" + _indent(self._examples))
        sys.stdout.write("\n\n".join(part for part in parts if part) + "\n")


def shown_value(option: Option) -> str:
    """How help shows what an option takes."""
    if option.action == "optional":
        return f"[={option.metavar}]"
    return f" {option.metavar}" if option.metavar else ""


def _dest(names: tuple[str, ...]) -> str:
    long = next((name for name in names if name.startswith("--")), names[0])
    return long.lstrip("-").replace("-", "_")


def _columns(rows: list[tuple[str, str]], width: int) -> list[str]:
    column = min(max(len(left) for left, _ in rows) + 2, _COLUMN)
    lines = []
    for left, text in rows:
        at = left.ljust(column) if len(left) <= column - 2 else ""
        if not at:
            lines.append(left)
            at = " " * column
        for word in text.split():
            if len(at) > column and len(at) + 1 + len(word) > width:
                lines.append(at)
                at = " " * column
            at += word if len(at) <= column else f" {word}"
        lines.append(at.rstrip())
    return lines


def _width() -> int:
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 110
    return max(min(columns, 130) - 2, 60)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.strip().splitlines())
