"""A Dockerfile that is built by tiffin and by Docker: what it is about, its context, and where the two must differ.

They are read from `cases/*.txt`:

    === what it is about             unique; the name of the test
    # a remark
    context: tree + odd              sets of files, see contexts.py
    by: buildkit                     only that one, not the classic builder too
    options: --build-arg A=b         of `docker build`
    dockerfile: NAME                 instead of Dockerfile
    bytes: NAME crlf bom             what the text of a file here cannot say
    differs buildkit: NAME -- why    see `built.differences`; NAME is a pattern
    --- before                       a Dockerfile that is built first, as the image `before`
    --- NAME                         a file of the context
    --- Dockerfile                   the Dockerfile; its images begin with `base`
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.build.compared.contexts import SETS, Made, file

CLASSIC, BUILDKIT = "classic", "buildkit"
BUILDERS = (CLASSIC, BUILDKIT)
DIRECTORY = Path(__file__).parent / "cases"


class Case(NamedTuple):
    """See above. `files` is the whole context, with the Dockerfile, which is called `dockerfile`. `differs` is
    builder -> pattern -> why."""

    about: str
    files: Mapping[str, Made]
    differs: Mapping[str, Mapping[str, str]]
    by: tuple[str, ...] = BUILDERS
    options: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    before: str = ""

    def request(self) -> dict[str, Any]:
        """The options as tiffin's BuildRequest has them."""
        found: dict[str, Any] = {}
        words = iter(self.options)
        for word in words:
            name = word.removeprefix("--").replace("-", "_")
            if name == "squash":
                found[name] = True
            elif name in ("build_arg", "label"):
                key, _, value = next(words).partition("=")
                found.setdefault(f"{name}s", {})[key] = value
            elif name == "secret":
                found["secrets"] = (next(words),)
            else:
                found[name] = next(words)
        return found


def read_cases() -> list[Case]:
    """All there are."""
    found = [case for path in sorted(DIRECTORY.glob("*.txt")) for case in _read(path.read_text())]
    assert len({case.about for case in found}) == len(found)
    return found


def _read(text: str) -> Iterator[Case]:
    for block in f"\n{text}".split("\n=== ")[1:]:
        head, *sections = block.split("\n--- ")
        about, *lines = head.split("\n")
        yield _case(about, [line.split(": ", 1) for line in lines if line and line[0] != "#"], sections)


def _case(about: str, lines: list[list[str]], sections: list[str]) -> Case:
    fields: dict[str, Any] = {}
    differs: dict[str, dict[str, str]] = {builder: {} for builder in BUILDERS}
    files: dict[str, Made] = {}
    for section in sections:
        name, _, text = section.partition("\n")
        text = text.strip("\n") + "\n"
        if name == "before":
            fields[name] = text
        else:
            files[name] = file(text)
    for key, value in lines:
        match key.split():
            case ["context"]:
                files = {
                    **{k: made for name in value.split(" + ") for k, made in SETS[name].items()},
                    **files,
                }
            case ["by"] | ["options"]:
                fields[key] = tuple(shlex.split(value))
            case ["dockerfile"]:
                fields[key] = value
            case ["bytes"]:
                name, *how = value.split()
                files[name] = _encoded(files[name], how)
            case ["differs", builder]:
                pattern, _, why = value.partition(" -- ")
                differs[builder][pattern] = why
            case _:
                raise ValueError(f"{about}: {key}: what is that?")
    return Case(about, files, differs, **fields)


def _encoded(made: Made, how: list[str]) -> Made:
    data = (made.data or b"").replace(b"\n", b"\r\n" if "crlf" in how else b"\n")
    return made._replace(data=b"\xef\xbb\xbf" + data if "bom" in how else data)
