"""Write docs/commands.md from the command table and each command's own parser.

python tools/reference.py            # rewrite the page
python tools/reference.py --check    # exit 1 when it is not what the code says
"""

import importlib
import sys

from pages import write_or_check

from tiffin.cli.parser import CommandParser, shown_value
from tiffin.cli.table import COMMANDS, Command


def _options(parser: CommandParser) -> list[str]:
    lines = []
    for option in parser.options:
        if option.dest == "help":
            continue
        value = shown_value(option)
        names = ", ".join(f"`{name}{value}`".replace("|", "\\|") for name in option.names)
        lines.append(f"| {names} | {option.help} |")
    return ["| option | |", "|---|---|", *lines, ""] if lines else []


def _section(command: Command) -> list[str]:
    module = importlib.import_module(f"tiffin.cli.commands.{command.module}")
    parser = CommandParser(command, module.DESCRIPTION, module.EXAMPLES)
    module.arguments(parser)
    forms = [f"tiffin {form} {command.usage}" for form in dict.fromkeys((command.shown, command.words))]
    description = " ".join(module.DESCRIPTION.split())
    return [
        f"## {command.shown}", "", description, "", "```", *forms, "```", "",
        *_options(parser), "```sh", module.EXAMPLES.strip(), "```", "",
    ]  # fmt: skip


def page() -> str:
    """The whole page."""
    lines = [
        "# Commands",
        "",
        "Made from the command line's own table by `tools/reference.py`; do not edit.",
        "",
    ]
    for command in sorted(COMMANDS, key=lambda c: c.shown):
        lines += _section(command)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    return write_or_check("commands.md", page(), "reference.py")


if __name__ == "__main__":
    sys.exit(main())
