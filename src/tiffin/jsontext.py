"""JSON as `json` reads and writes it, without loading that module where none of its special cases is met: it compiles
regular expressions for what its own C code does, 7 ms of a command and a megabyte of a supervisor.

`loads` and `dumps` do what `json`'s do, by the same C code (`_json`); what is not plain goes to `json` itself, which
decides, and words the errors. Also where there is no `_json`.
"""

from __future__ import annotations

from tiffin.typed import Any

_SPACE = " \t\n\r"


class _Rules:
    """How `json` reads by default."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        return float(name)  # NaN, Infinity, -Infinity


def _refuse(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_scan: Any = None
_encoder: Any = None
_ascii: Any = None
_unicode: Any = None
try:
    import _json

    rules: Any = _Rules
    _scan = _json.make_scanner(rules)
    _encoder, _ascii, _unicode = _json.make_encoder, _json.encode_basestring_ascii, _json.encode_basestring
except (ImportError, AttributeError):  # another Python: these are no public names
    _scan = _encoder = None


def loads(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError (json.JSONDecodeError) for what is none."""
    if _scan is not None:
        try:
            plain = text if isinstance(text, str) else text.decode("utf-8")
            plain = plain.strip(_SPACE)
            value, end = _scan(plain, 0)
            if end == len(plain):
                return value
        # The last one is what the C code of some versions ends in when it wants to raise json's error, and json is not
        # loaded.
        except (StopIteration, ValueError, SystemError):
            pass
    import json

    return json.loads(text)


def dumps(
    value: Any,
    *,
    separators: tuple[str, str] = (", ", ": "),
    sort_keys: bool = False,
    ensure_ascii: bool = True,
) -> str:
    """The value as JSON. Raises TypeError and ValueError as `json.dumps` does."""
    if _encoder is None:
        import json

        return json.dumps(value, separators=separators, sort_keys=sort_keys, ensure_ascii=ensure_ascii)
    item, key = separators
    quote = _ascii if ensure_ascii else _unicode
    encode = _encoder({}, _refuse, quote, None, key, item, sort_keys, False, True)
    return "".join(encode(value, 0))


def quoted(text: str) -> str:
    """The text as a JSON string, in Unicode."""
    return _unicode(text) if _unicode is not None else dumps(text, ensure_ascii=False)
