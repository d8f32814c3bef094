"""Lines of a Dockerfile as messages show them: those that are meant, marked, and some around them."""

from __future__ import annotations

_RULE = "-" * 20


def excerpt(file: str, text: str, line: int, end_line: int) -> list[str]:
    """Lines `line` to `end_line` of `text`, counted from 1, below the place's name and between rules, as BuildKit has
    it. Unprintable characters are left in."""
    rows = text.split("\n")
    last = min(end_line, len(rows))
    start, end = line, last
    shown, wanted = 0, 4 if last == line else 2
    while shown < wanted:
        if start > 1:
            start -= 1
            shown += 1
        if end < len(rows):
            end += 1
            shown += 1
        shown += 1
    marked = (
        f" {number:3d} | {'>>>' if line <= number <= last else '   '} {rows[number - 1].rstrip(chr(13))}"
        for number in range(start, end + 1)
    )
    return [f"{file}:{line}", _RULE, *marked, _RULE]
