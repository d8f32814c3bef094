"""Write docs/commands.md from the command table and each command's own parser.

python tools/reference.py            # rewrite the page
python tools/reference.py --check    # exit 1 when it is not what the code says
"""

import importlib
import sys
from pathlib import Path

from tiffin.cli.parser import CommandParser, shown_value
from tiffin.cli.table import COMMANDS, Command

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"


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
    text = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print(
                "docs/commands.md is not what the code says: run python tools/reference.py", file=sys.stderr
            )
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
