"""The values that templates work on, and how Go shows them.

None                      nil
bool, int, float, str     as they are
list, tuple               a slice
dict                      a map; walked in the order of its sorted keys
Struct                    a Go struct: its fields are known, and one that it lacks is an error
"""

import re

from tiffin.typed import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


class Struct(dict[str, Any]):
    """Named fields in their order. A field may be a function: a method, which a template gives its argument.
    `aliases` are further names that templates may use."""

    aliases: dict[str, str] = {}


class Texts(dict[str, str]):
    """A map of strings: `index` finds "" where it has nothing."""


class NilList(list[Any]):
    """A slice that is nil: shown as [], null in JSON."""


class NilMap(dict[str, Any]):
    """A map that is nil: shown as map[], null in JSON."""


class _Nothing:
    """What a missing key of a map gives."""

    def __bool__(self) -> bool:
        return False


NOTHING: Final = _Nothing()
"""No value at all: shown as <no value>, nil to functions."""
NIL: Final = _Nothing()
"""A field of a struct that is nil: shown as <nil>, nil to functions."""

_DIGITS_MAX: Final = 21


def truth(value: Any) -> bool:
    """What {{if}} takes for true: all but false, 0, nil and what is empty."""
    return isinstance(value, Struct) or bool(value)


def sprint(value: Any) -> str:
    """A value as Go's %v writes it."""
    if isinstance(value, str):
        return value
    out: list[str] = []
    _write(value, out)
    return "".join(out)


def _write(value: Any, out: "list[str]") -> None:
    if isinstance(value, str):
        out.append(value)
    elif value is None or isinstance(value, _Nothing):
        out.append("<nil>")
    elif isinstance(value, bool):
        out.append("true" if value else "false")
    elif isinstance(value, int):
        out.append(str(value))
    elif isinstance(value, float):
        out.append(float_text(value))
    elif isinstance(value, Struct):
        _write_all(fields_of(value).values(), "{", "}", out)
    elif isinstance(value, dict):
        out.append("map[")
        for at, key in enumerate(sorted(value)):
            out.append(f"{' ' if at else ''}{key}:")
            _write(value[key], out)
        out.append("]")
    else:
        _write_all(value, "[", "]", out)


def _write_all(values: "Iterable[Any]", before: str, after: str, out: "list[str]") -> None:
    out.append(before)
    for at, value in enumerate(values):
        if at:
            out.append(" ")
        _write(value, out)
    out.append(after)


def fields_of(value: Struct) -> dict[str, Any]:
    """The fields that are no methods with arguments."""
    return {name: field for name, field in value.items() if not callable(field)}


def float_text(value: float) -> str:
    """The shortest digits that read back the same; an exponent from 1e+21 and below 1e-04."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        digits = mantissa.removesuffix(".0")
        return digits if len(digits.lstrip("-").split(".")[0]) <= _DIGITS_MAX else f"{value:e}"
    power = int(exponent)
    if -4 <= power < _DIGITS_MAX:
        return f"{value:.0f}" if power >= 0 else f"{value:f}"
    return f"{mantissa.removesuffix('.0')}e{'-' if power < 0 else '+'}{abs(power):02d}"


def kind(value: Any) -> str:
    """The name of its Go type."""
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return "interface {}"


_KINDS: "Final[tuple[tuple[Any, str], ...]]" = (
    (bool, "bool"),
    (int, "int"),
    (float, "float64"),
    (str, "string"),
    (Struct, "struct"),
    (Texts, "map[string]string"),
    (dict, "map[string]interface {}"),
    ((list, tuple), "[]interface {}"),
)


def json_text(value: Any) -> str:
    """Go's JSON without its escapes for HTML: a map's keys sorted, a struct's in their order, no spaces. Raises
    ValueError, TypeError."""
    out: list[str] = []
    _write_json(value, out)
    return "".join(out)


def _write_json(value: Any, out: "list[str]") -> None:
    if value is None or isinstance(value, (NilList, NilMap, _Nothing)):
        out.append("null")
    elif isinstance(value, str):
        out.append(_json_string(value))
    elif isinstance(value, float):
        out.append(_json_float(value))
    elif isinstance(value, (bool, int)):
        out.append(sprint(value))
    elif isinstance(value, dict):
        pairs = (
            fields_of(value) if isinstance(value, Struct) else {str(key): value[key] for key in sorted(value)}
        )
        for at, (key, item) in enumerate(pairs.items()):
            out.append(f"{',' if at else '{'}{_json_string(key)}:")
            _write_json(item, out)
        out.append("}" if pairs else "{}")
    elif isinstance(value, (list, tuple)):
        out.append("[")
        for at, item in enumerate(value):
            if at:
                out.append(",")
            _write_json(item, out)
        out.append("]")
    else:
        raise TypeError(f"unsupported type: {type(value).__name__}")


def _json_string(text: str) -> str:
    import json

    shown = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return shown.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _json_float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"unsupported value: {float_text(value)}")
    if value and not 1e-6 <= abs(value) < 1e21:
        return re.sub(r"e-0(\d)$", r"e-\1", float_text(value))
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa.removesuffix(".0")
    decimals = len(mantissa.partition(".")[2]) - int(exponent)
    return f"{value:.{max(decimals, 0)}f}"
