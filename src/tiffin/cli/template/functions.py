"""The functions that a template may call: Go's own, and those that Docker's command line adds."""

from tiffin.cli.template.printf import sprintf
from tiffin.cli.template.values import Struct, Texts, json_text, kind, sprint, truth
from tiffin.typed import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

REPEAT_MAX: Final = 10_000


class FunctionError(Exception):
    """The arguments do not fit; carries Go's text."""


class Function(NamedTuple):
    """`parameters` are the Go types of the arguments, "" for any; the last one repeats when `variadic`. `raw` is an
    error text of Go's that comes without "error calling"."""

    call: "Callable[..., Any]"
    parameters: tuple[str, ...]
    variadic: bool = False


# -- Go's ------------------------------------------------------------------------------------------------------


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two values neither of which is a string."""
    out: list[str] = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out.append(" ")
        out.append(sprint(value))
    return "".join(out)


def _println(*values: Any) -> str:
    return " ".join(map(sprint, values)) + "\n"


def _len(value: Any) -> int:
    if value is None:
        raise FunctionError("len of nil pointer")
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, Struct) or not isinstance(value, (dict, list, tuple)):
        raise FunctionError(f"len of type {kind(value)}")
    return len(value)


def _index(value: Any, *keys: Any) -> Any:
    if value is None:
        raise FunctionError("index of untyped nil")
    for key in keys:
        if value is None:
            raise FunctionError("index of nil pointer")
        value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, Struct):
        if not isinstance(key, str):
            raise FunctionError(
                f"value has type {kind(key)}; should be string"
                if key is not None
                else "value is nil; should be of type string"
            )
        return value.get(key, "" if isinstance(value, Texts) else None)
    if isinstance(value, (list, tuple)):
        return value[_position(key, len(value), inclusive=False)]
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        return data[_position(key, len(data), inclusive=False)]
    raise FunctionError(f"can't index item of type {kind(value)}")


def _position(key: Any, size: int, *, inclusive: bool) -> int:
    if key is None:
        raise FunctionError("cannot index slice/array with nil")
    if not isinstance(key, int) or isinstance(key, bool):
        raise FunctionError(f"cannot index slice/array with type {kind(key)}")
    if not 0 <= key < size + inclusive:
        raise FunctionError(f"index out of range: {key}")
    return key


def _slice(value: Any, *bounds: Any) -> Any:
    if value is None:
        raise FunctionError("slice of untyped nil")
    if len(bounds) > 3:
        raise FunctionError(f"too many slice indexes: {len(bounds)}")
    if isinstance(value, Struct) or not isinstance(value, (str, list, tuple)):
        raise FunctionError(f"can't slice item of type {kind(value)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise FunctionError("cannot 3-index slice a string")
    whole = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    places = [_position(bound, len(whole), inclusive=True) for bound in bounds]
    start, end = (*places, *(0, len(whole))[len(places) :])[:2]
    if start > end:
        raise FunctionError(f"invalid slice index: {start} > {end}")
    cut = whole[start:end]
    return cut.decode("utf-8", "replace") if isinstance(cut, bytes) else cut


def _basic(value: Any) -> str:
    """The kind by which values are compared."""
    if value is None:
        return "nil"
    found = kind(value)
    return found if found in ("bool", "int", "float64", "string") else ""


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    left = _basic(first)
    for other in others:
        right = _basic(other)
        if "nil" in (left, right):
            if left == right:
                return True
            continue
        if left != right:
            raise FunctionError(f"incompatible types for comparison: {kind(first)} and {kind(other)}")
        if not left:
            raise FunctionError(f"non-comparable type {sprint(first)}: {kind(first)}")
        if first == other:
            return True
    return False


def _ne(first: Any, second: Any) -> bool:
    return not _eq(first, second)


def _lt(first: Any, second: Any) -> bool:
    for value in (first, second):
        if _basic(value) in ("", "nil"):
            raise FunctionError("invalid type for comparison")
    if _basic(first) != _basic(second):
        raise FunctionError(f"incompatible types for comparison: {_basic(first)} and {_basic(second)}")
    if isinstance(first, bool):
        raise FunctionError("invalid type for comparison")
    return bool(first < second)


def _le(first: Any, second: Any) -> bool:
    return _lt(first, second) or _eq(first, second)


def _gt(first: Any, second: Any) -> bool:
    return not _le(first, second)


def _ge(first: Any, second: Any) -> bool:
    return not _lt(first, second)


def _joined(values: tuple[Any, ...]) -> str:
    values = tuple("<no value>" if value is None else value for value in values)
    return values[0] if len(values) == 1 and isinstance(values[0], str) else _print(*values)


def _html(*values: Any) -> str:
    table: dict[str, str | int | None] = {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&#34;",
        "'": "&#39;",
        "\0": "\ufffd",
    }
    return _joined(values).translate(str.maketrans(table))


def _js(*values: Any) -> str:
    named = {
        "\\": "\\\\",
        "'": "\\'",
        '"': '\\"',
        "<": "\\u003C",
        ">": "\\u003E",
        "&": "\\u0026",
        "=": "\\u003D",
    }
    return "".join(
        named[c] if c in named
        else f"\\u{ord(c):04X}" if c < " " or (c > "\x7f" and not c.isprintable())
        else c
        for c in _joined(values)
    )  # fmt: skip


def _urlquery(*values: Any) -> str:
    import re

    def quoted_bytes(match: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))

    return re.sub(r"[^A-Za-z0-9_.~ -]", quoted_bytes, _joined(values)).replace(" ", "+")


# -- Docker's --------------------------------------------------------------------------------------------------


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _join(values: Any, separator: str) -> str:
    if not isinstance(values, (list, tuple)):
        raise FunctionError(f"expected slice, got {kind(values)}")
    return separator.join(map(sprint, values))


def _title(text: str) -> str:
    import re

    return re.sub(r"(?<!\w)\w", lambda match: match[0].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    if not text:
        return text
    for count in (before, after):
        if count < 0:
            raise FunctionError("strings: negative Repeat count")
        if count > REPEAT_MAX:
            raise FunctionError(f"more than {REPEAT_MAX} spaces")
    return " " * before + text + " " * after


def _truncate(text: str, length: int) -> str:
    data = text.encode("utf-8", "surrogateescape")
    if len(data) < length:
        return text
    if length < 0:
        raise FunctionError(f"slice bounds out of range [:{length}]")
    return data[:length].decode("utf-8", "replace")


def _json(value: Any) -> str:
    try:
        return json_text(value)
    except (ValueError, TypeError) as error:
        raise FunctionError(f"json: {error}") from error


_TEXT: Final = ("string",)
FUNCTIONS: "Final[dict[str, Function]]" = {
    "print": Function(_print, ("",), variadic=True),
    "printf": Function(lambda form, *values: sprintf(form, values), ("string", ""), variadic=True),
    "println": Function(_println, ("",), variadic=True),
    "len": Function(_len, ("",)),
    "index": Function(_index, ("", ""), variadic=True),
    "slice": Function(_slice, ("", ""), variadic=True),
    "not": Function(lambda value: not truth(value), ("",)),
    "eq": Function(_eq, ("", ""), variadic=True),
    "ne": Function(_ne, ("", "")),
    "lt": Function(_lt, ("", "")),
    "le": Function(_le, ("", "")),
    "gt": Function(_gt, ("", "")),
    "ge": Function(_ge, ("", "")),
    "html": Function(_html, ("",), variadic=True),
    "js": Function(_js, ("",), variadic=True),
    "urlquery": Function(_urlquery, ("",), variadic=True),
    "json": Function(_json, ("",)),
    "split": Function(_split, ("string", "string")),
    "join": Function(_join, ("", "string")),
    "title": Function(_title, _TEXT),
    "lower": Function(lambda text: text.lower(), _TEXT),
    "upper": Function(lambda text: text.upper(), _TEXT),
    "pad": Function(_pad, ("string", "int", "int")),
    "truncate": Function(_truncate, ("string", "int")),
}
"""`and` and `or`, which do not evaluate all of their arguments, are the evaluator's own."""

HEADING_FUNCTIONS: "Final[dict[str, Function]]" = FUNCTIONS | {
    # Under `table`, the template is applied to the headings too: they must come out as they are.
    "json": Function(lambda text: text, ("",)),
    "title": Function(lambda text: text, _TEXT),
    "lower": Function(lambda text: text, _TEXT),
    "upper": Function(lambda text: text, _TEXT),
    "truncate": Function(lambda text, _: text, ("string", "int")),
    "split": Function(lambda text, _: [text], ("string", "string")),
    "join": Function(lambda values, _: values[0] if isinstance(values, list) else values, ("", "string")),
}


def arity(function: Function, count: int) -> str:
    """What is wrong with giving it so many arguments; "" for nothing."""
    wanted = len(function.parameters) - function.variadic
    if function.variadic and count < wanted:
        return f"want at least {wanted} got {count}"
    return "" if function.variadic or count == wanted else f"want {wanted} got {count}"
