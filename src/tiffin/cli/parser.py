"""Argument parsing in Docker's manner over argparse: its error texts and exit codes, options before operands,
`--flag=false` for switches, and help with examples."""

import argparse
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from tiffin.cli.output import UsageError
from tiffin.cli.table import Command

_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


class Switch(argparse.Action):
    """A switch as Docker's flags have them: `--rm`, `--rm=true`, `--rm=false`."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, default: bool = False, help: str | None = None
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, default=default, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, True)


class CommandParser(argparse.ArgumentParser):
    """The parser of one command."""

    def __init__(self, command: Command, description: str = "", examples: str = "") -> None:
        super().__init__(
            prog=f"tiffin {command.shown}",
            usage=f"tiffin {command.shown} {command.usage}",
            description=description,
            epilog=f"Examples:\n{_indent(examples)}" if examples else None,
            formatter_class=_formatter,
            add_help=False,
            allow_abbrev=False,
        )
        self.command = command
        self.add_argument("--help", action="help", help="show this help and exit")
        self.register("action", "switch", Switch)

    def switch(self, *names: str, help: str, default: bool = False) -> None:
        self.add_argument(*names, action=Switch, help=help, default=default)

    def error(self, message: str) -> NoReturn:
        # Docker: 125 for a wrong flag of any command; 1 for missing operands, but 125 for those of run and create
        early = self.command.short in ("run", "create") or "required" not in message
        code = 125 if early else 1
        raise UsageError(f"{_docker_words(message)}; see 'tiffin {self.command.shown} --help'", code)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse; `--switch=false` is resolved first, since argparse's switches take no value."""
        kept: list[str] = []
        off: list[str] = []
        operands = False
        for word in words:
            name, equals, value = word.partition("=")
            action = None if operands else self._option_string_actions.get(name)
            if equals and isinstance(action, Switch):
                if value.lower() not in _BOOLEANS:
                    self.error(f'invalid argument "{value}" for "{name}": want true or false')
                kept = kept if _BOOLEANS[value.lower()] is False else [*kept, name]
                off += [] if _BOOLEANS[value.lower()] else [action.dest]
                continue
            operands = operands or word == "--"
            kept.append(word)
        args = self.parse_args(kept)
        for dest in off:
            setattr(args, dest, False)
        return args


def _formatter(prog: str) -> argparse.RawDescriptionHelpFormatter:
    # Given a width, argparse does not import shutil (and with it every compressor) to ask for one.
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=_width())


def _width() -> int:
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 110
    return max(min(columns, 130) - 2, 60)


def _docker_words(message: str) -> str:
    if message.startswith("unrecognized arguments: "):
        first = message.removeprefix("unrecognized arguments: ").split()[0]
        return f"unknown flag: {first}" if first.startswith("-") else f'unexpected argument "{first}"'
    if message.startswith("the following arguments are required: "):
        return f"requires {message.removeprefix('the following arguments are required: ')}"
    return message


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.strip().splitlines())
