"""Options that are a line of CSV with fields `key=value`: --output, --cache-from, --cache-to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiffin.errors import InvalidArgument
from tiffin.oci.reference import shown

_TRUE, _FALSE = ("1", "t", "true", "yes", ""), ("0", "f", "false", "no")
_LONGEST = 64 << 10


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that was probably meant."""
    from tiffin.volumes.options import nearest as hint  # for a wrong word alone

    return hint(word, known)


class Fields:
    """The fields of one option's value, each key once. `take` what is understood; then `end`."""

    def __init__(self, option: str, text: str) -> None:
        self._option = option
        self._text = text
        self._found: dict[str, str] = {}
        for field in split(option, text):
            key, _, value = field.partition("=")
            key = key.strip() if "." in key else key.strip().lower()
            if key in self._found:
                raise self.refused(f"{shown(key)!r} is given twice")
            self._found[key] = value

    def take(self, key: str, default: str = "") -> str:
        """The value of a key, which is then done with."""
        return self._found.pop(key, default)

    def has(self, key: str) -> bool:
        return key in self._found

    def switch(self, key: str, *, default: bool = False) -> bool:
        """Whether a key is true; one alone is."""
        if key not in self._found:
            return default
        value = self._found.pop(key).lower()
        if value not in _TRUE + _FALSE:
            raise self.refused(f"{key}={shown(value)}: want true or false")
        return value in _TRUE

    def number(self, key: str, default: int) -> int:
        """A key's value as a number; `default` without the key."""
        if key not in self._found:
            return default
        value = self._found.pop(key)
        if not (value.isascii() and value.isdigit() and len(value) < 6):
            raise self.refused(f"{key}={shown(value)}: want a number")
        return int(value)

    def word(self, key: str, known: Sequence[str], default: str = "") -> str:
        """A key's value, one of the `known`."""
        value = self._found.pop(key, default)
        if value != default and value not in known:
            raise self.refused(f"{key}={shown(value)}{nearest(value, known)}")
        return value

    def starting(self, prefix: str) -> list[tuple[str, str]]:
        """The keys that begin so, with their values; done with."""
        found = [(key, value) for key, value in self._found.items() if key.startswith(prefix)]
        for key, _ in found:
            del self._found[key]
        return found

    def end(self, known: Iterable[str]) -> None:
        """Raises InvalidArgument when something is left; `known` is all that could have been."""
        for key in self._found:
            raise self.refused(f"unexpected key {shown(key)!r}{nearest(key, known)}")

    def refused(self, why: str) -> InvalidArgument:
        return InvalidArgument(f'invalid argument "{shown(self._text)}" for "{self._option}": {why}')


def split(option: str, text: str) -> list[str]:
    """The fields of a line of CSV. Raises InvalidArgument."""
    import csv

    if len(text) > _LONGEST or "\n" in text or "\r" in text or "\0" in text:
        raise InvalidArgument(f'invalid argument for "{option}": want one line of key=value,...')
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidArgument(f'invalid argument "{shown(text)}" for "{option}": {error}') from error
    return rows[0] if rows else []
