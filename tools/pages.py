"""Pages of docs/ that are made from the code."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def write_or_check(name: str, text: str, tool: str) -> int:
    """Rewrite docs/`name`; with --check, 1 when it is not `text`, and what to run. `tool` makes it."""
    page = DOCS / name
    if sys.argv[1:] != ["--check"]:
        page.write_text(text, encoding="utf-8")
    elif not page.exists() or page.read_text(encoding="utf-8") != text:
        print(f"docs/{name} is not what the code says: run python tools/{tool}", file=sys.stderr)
        return 1
    return 0
