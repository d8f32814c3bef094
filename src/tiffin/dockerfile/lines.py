"""A Dockerfile's bytes as logical lines: directives, comments, continuations, and bounds on all of it.

    bytes --Source--> physical lines --logical()--> (first line, last line, text) ...
                                     --document()--> the lines of one here-document

Dockerfile reference, "Format", "Parser directives" and "Escape". Linear in the size of the file.
"""

from __future__ import annotations

import re

from tiffin.dockerfile.place import Place, shown
from tiffin.dockerfile.shell_words import DEFAULT_ESCAPE, SPACE
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20

_BOM = b"\xef\xbb\xbf"
_DIRECTIVE = re.compile(rf"#[{SPACE}]*([a-zA-Z][a-zA-Z0-9]*)[{SPACE}]*=[{SPACE}]*(.*)")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})


class LogicalLine(Value):
    """One instruction's text: continuations joined, comment lines dropped, leading white space gone."""

    first: int
    last: int
    text: str


class Remarks(Value):
    """What the text has beside its instructions, for the lint: `comments` are the comment lines right above an
    instruction, without their `#`, by its first line; `gaps` the last lines of the instructions that have an empty line
    among their continuations.
    """

    comments: dict[int, tuple[str, ...]]
    gaps: tuple[int, ...]


class Source:
    """Reads one file front to back. `directives` and `escape` are known as soon as it is made, `comments` and `gaps`
    (see `Remarks`) when it has been read.
    """

    def __init__(self, data: bytes, file: str) -> None:
        self.file = file
        self._lines = _physical(data, file)
        self._at = 0
        self.directives: dict[str, str] = {}
        self.comments: dict[int, tuple[str, ...]] = {}
        self.gaps: list[int] = []
        self._read_directives()
        self.escape = self.directives.get("escape", DEFAULT_ESCAPE)

    def _read_directives(self) -> None:
        """Directives stand before everything else, empty lines and other comments included; each once."""
        for number, line in enumerate(self._lines, 1):
            found = _DIRECTIVE.fullmatch(line.strip(SPACE))
            name = found[1].lower() if found else ""
            if found is None or name not in _DIRECTIVES or not found[2]:
                return
            place = Place(self.file, number)
            if name in self.directives:
                raise place.error(f"only one {name} parser directive can be used")
            if name == "escape" and found[2] not in ("\\", "`"):
                raise place.error(f"invalid escape character '{shown(found[2])}': use \\ or `")
            self.directives[name] = found[2]

    def logical(self) -> Iterator[LogicalLine]:
        """The instructions' lines. `document` may be called in between, for the line just given."""
        above: list[str] = []
        while self._at < len(self._lines):
            text = self._lines[self._at].rstrip("\r\n").lstrip(SPACE)
            self._at += 1
            if text.startswith("#"):
                comment = text[1:].strip(SPACE)
                if comment and self._at > len(self.directives):
                    above.append(comment)
                else:
                    above.clear()
                continue
            first = self._at
            text, continued = self._continuation(text)
            if not text and not continued:
                above.clear()
                continue
            if above:
                self.comments[first] = tuple(above)
                above.clear()
            parts, gap = [text], False
            while continued and self._at < len(self._lines):
                text = self._lines[self._at].rstrip("\r\n")
                self._at += 1
                stripped = text.lstrip(SPACE)
                gap = gap or not stripped
                if not stripped or stripped.startswith("#"):
                    continue  # neither an empty line nor a comment ends a continued instruction
                text, continued = self._continuation(text)
                parts.append(text)
            if gap:
                self.gaps.append(self._at)
            joined = "".join(parts)
            if joined.strip(SPACE):
                yield LogicalLine(first, self._at, joined)

    def _continuation(self, text: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it had one; a doubled one is not one."""
        bare = text.rstrip(" \t")
        if not bare.endswith(self.escape) or bare[-2:-1] == self.escape:
            return text, False
        return bare[:-1], True

    def document(self, terminator: str, *, strip_tabs: bool) -> tuple[str, int] | None:
        """A here-document's content and the line of its terminator, or None when it never comes."""
        start = self._at
        for index in range(start, len(self._lines)):
            line = self._lines[index].rstrip("\r\n")
            if (line.lstrip("\t") if strip_tabs else line) == terminator:
                self._at = index + 1
                return "".join(self._lines[start:index]), index + 1
        return None


def _physical(data: bytes, file: str) -> list[str]:
    """The lines, each with its line end; only newlines end a line."""
    if len(data) > MAX_BYTES:
        raise Place(file).error(f"larger than {MAX_BYTES} bytes")
    data = data.removeprefix(_BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Place(file, line).error("not UTF-8 text") from error
    nul = text.find("\0")
    if nul >= 0:
        raise Place(file, text.count("\n", 0, nul) + 1).error("holds a NUL character")
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
