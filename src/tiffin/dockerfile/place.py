"""Where in which file something stands, and the errors that say so."""

from __future__ import annotations

from itertools import islice

from tiffin.dockerfile.value import Value
from tiffin.errors import DockerfileError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 60
_LONGEST = 400
_TRIED = 500


class Place(Value):
    """An instruction's place. `line` counts from 1, 0 is the whole file; `instruction` is a keyword or ""."""

    file: str
    line: int = 0
    instruction: str = ""

    def error(self, message: str) -> DockerfileError:
        """The text as written is wrong."""
        return DockerfileError(
            _printable(message), file=self.file, line=self.line, instruction=self.instruction
        )


def shown(text: str) -> str:
    """`text` for a one-line message: cut when long, and nothing in it that would drive a terminal."""
    return _printable(text, _SHOWN)


def _printable(text: str, longest: int = _LONGEST) -> str:
    cut = text if len(text) <= longest else text[:longest] + "..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """` (did you mean X?)` for the known word that `word` looks like, else "". Of many words the first are tried.
    `alike` is how much, from 0 to 1 (difflib's ratio).
    """
    if len(word) > _SHOWN:
        return ""
    import difflib  # for the wrong text alone

    some = list(islice(known, _TRIED))
    close = [each for each in some if each != word and each.lower() == word.lower()]
    close = close or difflib.get_close_matches(word, some, n=1, cutoff=alike)
    return f" (did you mean {close[0]}?)" if close else ""
