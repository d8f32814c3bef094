"""Go's fmt.Sprintf for the values that templates have (package fmt states its verbs and its words for mistakes)."""

import re

from tiffin.cli.template.lexer import quoted
from tiffin.cli.template.values import NOTHING, Struct, fields_of, float_text, kind, sprint
from tiffin.typed import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH_MAX: Final = 10_000
_VERB: Final = re.compile(r"%([-+# 0]*)(\*|[0-9]+)?(?:\.(\*|[0-9]*))?(.)?", re.DOTALL)


def sprintf(form: str, values: "Sequence[Any]") -> str:
    """The text. A wrong verb or a missing value is said in it, as Go does: %!d(string=x)."""
    out: list[str] = []
    at, rest = 0, list(values)
    for match in _VERB.finditer(form):
        out += (form[at : match.start()], _one(match, rest))
        at = match.end()
    out.append(form[at:])
    if rest:
        extra = ", ".join("<nil>" if v is None else f"{kind(v)}={sprint(v)}" for v in rest)
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _one(match: re.Match[str], rest: list[Any]) -> str:
    flags, verb, complaint = match[1], match[4], ""
    width, wrong = _count(match[2], rest, "WIDTH")
    complaint += wrong
    precision, wrong = _count(match[3] if match[3] != "" else "0", rest, "PREC")
    complaint += wrong
    if width is not None and width < 0:
        flags, width = flags + "-", -width
    if verb is None:
        return complaint + "%!(NOVERB)"
    if verb == "%":
        return complaint + "%"
    if not rest:
        return f"{complaint}%!{verb}(MISSING)"
    value = rest.pop(0)
    text = _text(verb, value, flags, None if precision is not None and precision < 0 else precision)
    if text is None:
        shown = "<nil>" if value is None else f"{kind(value)}={sprint(value)}"
        return f"{complaint}%!{verb}({shown})"
    return complaint + _padded(text, flags, width or 0, numeric=_is_number(value) and verb not in "sqvT")


def _count(text: str | None, rest: list[Any], what: str) -> tuple[int | None, str]:
    """A width or precision, and what is wrong with it."""
    if text is None:
        return None, ""
    found: Any = text
    if text == "*":
        found = rest.pop(0) if rest else None
        if not isinstance(found, int) or isinstance(found, bool):
            return None, f"%!(BAD{what})"
    elif len(text) > 8:
        return None, f"%!(BAD{what})"
    number = int(found)
    return (number, "") if abs(number) <= WIDTH_MAX else (None, f"%!(BAD{what})")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(verb: str, value: Any, flags: str, precision: int | None) -> str | None:
    """The value under one verb, None when it does not take it."""
    if verb == "v":
        if isinstance(value, float) and precision is not None:
            return _float("g", value, flags, precision)
        if _is_number(value):
            return _signed(sprint(value), flags)
        return _go_syntax(value) if "#" in flags else _named(value) if "+" in flags else sprint(value)
    if verb == "T":
        return "<nil>" if value is None else kind(value)
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(_inner(verb, item, flags, precision) for item in value)}]"
    if isinstance(value, dict):
        pairs = ((key, value[key]) for key in sorted(value))
        texts = (f"{_inner(verb, k, flags, precision)}:{_inner(verb, v, flags, precision)}" for k, v in pairs)
        return f"map[{' '.join(texts)}]"
    if isinstance(value, bool):
        return sprint(value) if verb == "t" else None
    if isinstance(value, int):
        return _integer(verb, value, flags, precision)
    if isinstance(value, float):
        return _float(verb, value, flags, precision)
    return _string(verb, value, flags, precision) if isinstance(value, str) else None


def _inner(verb: str, value: Any, flags: str, precision: int | None) -> str:
    """An element of a slice or a map."""
    text = None if value is None else _text(verb, value, flags, precision)
    return (
        text if text is not None else "<nil>" if value is None else f"%!{verb}({kind(value)}={sprint(value)})"
    )


def _hex(text: str, spaced: bool) -> str:
    data = text.encode("utf-8", "replace")
    return data.hex(" ") if spaced else data.hex()


def _string(verb: str, value: str, flags: str, precision: int | None) -> str | None:
    cut = value if precision is None else value[:precision]
    if verb == "s":
        return cut
    if verb == "q":
        raw = "#" in flags and "`" not in cut and cut.isprintable()
        return f"`{cut}`" if raw else quoted(cut)
    if verb in "xX":
        text = _hex(cut, " " in flags)
        text = text if "#" not in flags or not cut else f"0x{text}"
        return text.upper() if verb == "X" else text
    return None


def _integer(verb: str, value: int, flags: str, precision: int | None) -> str | None:
    if verb in "cqU":
        if not 0 <= value < 0x110000 or 0xD800 <= value < 0xE000:
            value = 0xFFFD
        return chr(value) if verb == "c" else f"'{chr(value)}'" if verb == "q" else f"U+{value:04X}"
    forms = {"d": "d", "x": "x", "X": "X", "o": "o", "O": "o", "b": "b"}
    if verb not in forms:
        return None
    digits = format(abs(value), forms[verb]).rjust(precision or 0, "0")
    prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in flags else ""
    prefix = "0o" if verb == "O" else prefix
    return _signed(("-" if value < 0 else "") + prefix + digits, flags)


def _float(verb: str, value: float, flags: str, precision: int | None) -> str | None:
    if verb in "gG":
        text = float_text(value) if precision is None else _general(value, precision)
    elif verb in "eEfF":
        text = format(value, f".{6 if precision is None else min(precision, 1000)}{verb.lower()}")
    else:
        return None
    return _signed(text.upper() if verb in "EG" else text, flags)


def _general(value: float, precision: int) -> str:
    return format(value, f".{min(precision, 1000) or 1}g")


def _signed(text: str, flags: str) -> str:
    if text.startswith(("-", "+")):
        return text
    return f"+{text}" if "+" in flags else f" {text}" if " " in flags else text


def _padded(text: str, flags: str, width: int, *, numeric: bool) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" not in flags:
        return text.rjust(width)
    sign = text[:1] if numeric and text[:1] in ("+", "-", " ") else ""
    return sign + text[len(sign) :].rjust(width - len(sign), "0")


def _named(value: Any) -> str:
    """%+v: a struct with the names of its fields."""
    if isinstance(value, Struct):
        return "{" + " ".join(f"{name}:{_named(field)}" for name, field in fields_of(value).items()) + "}"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_named(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_named, value)) + "]"
    return sprint(value)


def _go_syntax(value: Any) -> str:
    """%#v"""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{quoted(key)}:{_go_syntax(value[key])}" for key in sorted(value))
        return f"{kind(value)}{{{pairs}}}"
    if isinstance(value, (list, tuple)):
        return f"{kind(value)}{{{', '.join(map(_go_syntax, value))}}}"
    return "interface {}(nil)" if value is None or value is NOTHING else sprint(value)
