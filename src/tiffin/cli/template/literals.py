"""Go's constants: numbers and quoted strings."""

import re

from tiffin.typed import Final

_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_NAMED: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip
_INTEGER: Final = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?")
_INTEGER_MAX: Final = 1 << 64


def number(text: str) -> int | float:
    """An integer that fits 64 bits, or a float. Raises ValueError."""
    if _INTEGER.fullmatch(text):
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-").replace("_", "").lower()
        old_octal = len(digits) > 1 and digits.isdigit() and digits.startswith("0")
        value = sign * int(f"0o{digits}" if old_octal else digits, 0)
        if -_INTEGER_MAX // 2 <= value < _INTEGER_MAX:
            return value
        raise ValueError(text)
    if _FLOAT.fullmatch(text):
        found = float(text.replace("_", ""))
        if found in (float("inf"), float("-inf")):
            raise ValueError(text)
        return found
    if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F_]*\.?[0-9a-fA-F_]*[pP][+-]?[0-9]+", text):
        return float.fromhex(text.replace("_", ""))
    raise ValueError(text)


def unquote(text: str) -> str:
    """The string that a quoted or raw constant, or a character constant, stands for. Raises ValueError.

    `\\xNN` and octal escapes give bytes; those that are not UTF-8 become U+FFFD."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    mark, body = text[0], text[1:-1]
    found = bytearray()
    at = 0
    for match in _ESCAPE.finditer(body):
        found += body[at : match.start()].encode("utf-8", "replace")
        found += _byte_values(match[1], mark)
        at = match.end()
    found += body[at:].encode("utf-8", "replace")
    return found.decode("utf-8", "replace")


def _byte_values(escape: str, mark: str) -> bytes:
    if escape[0] == "x" and len(escape) == 3:
        return bytes((int(escape[1:], 16),))
    if escape[0] in "uU" and len(escape) > 1:
        code = int(escape[1:], 16)
        if 0xD800 <= code < 0xE000:
            raise ValueError(escape)
        return chr(code).encode()
    if len(escape) == 3:
        return bytes((int(escape, 8),))
    if escape not in _NAMED or (escape in "'\"" and escape != mark):
        raise ValueError(escape)
    return _NAMED[escape].encode()
