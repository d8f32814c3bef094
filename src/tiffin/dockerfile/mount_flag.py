"""`RUN --mount=type=cache,target=/x`: one flag's text to a `RunMount`.

The text is a line of CSV whose fields are `key=value` or a lone key. It is read twice: when the Dockerfile is parsed,
where what holds variables is left open but all else is checked, and when the instruction's turn has come, with
`expand`, which gives each value as it is then. Values are expanded after the fields were split, so that a variable
cannot bring another key; `from` is never expanded. (Dockerfile reference, "RUN --mount".)
"""

from __future__ import annotations

import posixpath
import re

from tiffin.dockerfile.instructions import RunMount
from tiffin.dockerfile.place import nearest, shown
from tiffin.dockerfile.shell_words import WordError
from tiffin.dockerfile.shell_words import expand as expand_word
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.dockerfile.place import Place

KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
MAX_MOUNTS = 100

_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS = {
    "bind": ("type", "target", "source", "from", "readonly", "readwrite"),
    "cache": (
        *("type", "target", "source", "from", "readonly", "readwrite"),
        *("id", "sharing", "mode", "uid", "gid"),
    ),
    "tmpfs": ("type", "target", "size", "readonly", "readwrite"),
    "secret": ("type", "target", "source", "id", "env", "required", "mode", "uid", "gid", "readonly"),
    "ssh": ("type", "target", "id", "required", "mode", "uid", "gid", "readonly"),
}
_EVERY_KEY = tuple(dict.fromkeys((*(key for keys in _KEYS.values() for key in keys), *_ALIASES)))
_SWITCHES = ("readonly", "readwrite", "required")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_FIELD = re.compile(r'"((?:[^"]|"")*)"(?=,|$)|([^",]*)(?=,|$)')
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(?:([kmgtp])(?:i?b)?|b)?", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_ID = (1 << 32) - 1


class Field(Value):
    """`key` is its own name, lower case and no alias; `written` as it stood; `value` None for a lone key."""

    key: str
    written: str
    value: str | None


def read_mount(text: str, place: Place, escape: str, expand: Callable[[str], str] | None = None) -> RunMount:
    """Raises DockerfileError. Without `expand` only `kind` and `from_` are sure to be right."""
    fields = [_field(each, place) for each in _split(text, place)]
    values: dict[str, str | None] = {}
    still_open: set[str] = set()
    for field in fields:
        value = field.value
        if value is not None and field.key == "from":
            _check_from(value, place, escape)
        elif value is not None and expand is not None:
            value = expand(value)
        elif value is not None and not _is_literal(value, escape):
            still_open.add(field.key)
            continue
        values[field.key] = value
        if field.value is None and field.key not in _SWITCHES:
            raise place.error(f"invalid --mount field '{shown(field.written)}': must be a key=value pair")
    kind = _one_of("type", (values.get("type") or "bind").lower(), KINDS, place)
    if "type" in still_open:
        return RunMount(from_=values.get("from") or "")
    for field in fields:
        if field.key not in _KEYS[kind]:
            raise place.error(_misplaced(field, kind))
    mount = RunMount(kind=kind, from_=values.get("from") or "", **_values(kind, values, place))  # type: ignore[arg-type] # one of KINDS
    return mount if still_open else _complete(mount, place)


def _split(text: str, place: Place) -> list[str]:
    """The fields of one line of CSV (RFC 4180)."""
    fields: list[str] = []
    at = 0
    while at <= len(text):
        found = _FIELD.match(text, at)
        if found is None:
            raise place.error(
                f"invalid --mount: {shown(text)}: a quote inside a field, or one that is not closed"
            )
        fields.append(found[2] if found[1] is None else found[1].replace('""', '"'))
        at = found.end() + 1
    return fields


def _field(text: str, place: Place) -> Field:
    written, equals, value = text.partition("=")
    key = written.lower()
    key = _ALIASES.get(key, key)
    if key not in _EVERY_KEY:
        raise place.error(f"unexpected key '{shown(written)}' in --mount{nearest(key, _EVERY_KEY)}")
    return Field(key, written, value if equals else None)


def _is_literal(value: str, escape: str) -> bool:
    try:
        return expand_word(value, {}, escape) == value
    except WordError:
        return False


def _check_from(value: str, place: Place, escape: str) -> None:
    if not value:
        raise place.error("--mount=from= is empty: name a stage, an image or a context")
    if not _is_literal(value, escape):
        raise place.error(
            "no variables in --mount=from=: begin a stage with FROM and the variable, mount that"
        )


def _misplaced(field: Field, kind: str) -> str:
    if kind == "secret" and field.key == "readwrite":
        return "a secret mount cannot be written to: drop rw"
    return f"unexpected key '{field.written}' for mount type '{kind}': it takes {', '.join(_KEYS[kind])}"


def _values(kind: str, values: dict[str, str | None], place: Place) -> dict[str, Any]:
    """The fields of the mount that are known, checked one by one."""
    found: dict[str, Any] = {}
    for key in ("target", "source", "id", "env"):
        if key in values:
            found[key] = values[key] or ""
    if found.get("env") and not _VARIABLE.fullmatch(found["env"]):
        raise place.error(f"invalid --mount=env={shown(found['env'])}: not a variable's name")
    if "sharing" in values:
        found["sharing"] = _one_of("sharing", (values["sharing"] or "").lower(), SHARING, place)
    if "mode" in values:
        found["mode"] = _number("mode", values["mode"], 8, 0o7777, place)
    for key in ("uid", "gid"):
        if key in values:
            found[key] = _number(key, values[key], 10, _MAX_ID, place)
    if "size" in values:
        found["size"] = _size(values["size"] or "", place)
    if "required" in values:
        found["required"] = _switch("required", values["required"], place)
    found["readonly"] = kind in ("bind", "secret", "ssh")
    for key in ("readonly", "readwrite"):
        if key in values:
            found["readonly"] = _switch(key, values[key], place) == (key == "readonly")
    return found


def _complete(mount: RunMount, place: Place) -> RunMount:
    """With the defaults that depend on other fields; the check of what must be there."""
    if mount.kind == "secret":
        return _complete_secret(mount, place)
    if mount.kind == "ssh":
        return mount.replace(id=mount.id or "default")
    if not mount.target:
        raise place.error(f"a {mount.kind} mount needs a target: --mount=type={mount.kind},target=/path")
    if posixpath.normpath(mount.target) in ("/", "//"):
        raise place.error(f"invalid mount target {shown(mount.target)}: the root cannot be mounted over")
    if mount.kind == "cache":
        return mount.replace(id=mount.id or posixpath.normpath(mount.target))
    return mount


def _complete_secret(mount: RunMount, place: Place) -> RunMount:
    if mount.id and mount.source:
        raise place.error("a secret mount takes either id or source, not both")
    name = mount.id or mount.source or posixpath.basename(mount.target.rstrip("/"))
    if not name:
        raise place.error("a secret mount needs an id or a target: --mount=type=secret,id=NAME")
    target = mount.target
    if not target and not mount.env:
        target = f"/run/secrets/{posixpath.basename(name)}"
    return mount.replace(id=name, source="", target=target)


def _one_of(key: str, value: str, known: tuple[str, ...], place: Place) -> str:
    if value not in known:
        hint = nearest(value, known) or f": use {', '.join(known[:-1])} or {known[-1]}"
        raise place.error(f"unsupported --mount={key}={shown(value)}{hint}")
    return value


def _number(key: str, text: str | None, base: int, most: int, place: Place) -> int:
    digits = "[0-7]{1,15}" if base == 8 else "[0-9]{1,15}"
    if text is None or not re.fullmatch(digits, text) or int(text, base) > most:
        want = "octal digits such as 0755" if base == 8 else "a number"
        raise place.error(f"invalid value for --mount={key}: {shown(text or '')}: use {want}")
    return int(text, base)


def _switch(key: str, text: str | None, place: Place) -> bool:
    if text is None or text in _TRUE:
        return True
    if text not in _FALSE:
        raise place.error(f"invalid value for --mount={key}: {shown(text)}: use true or false")
    return False


def _size(text: str, place: Place) -> int:
    """Bytes, in units of 1024 as `docker run --memory` has them."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise place.error(f"invalid value for --mount=size: {shown(text)}: use bytes, or 64m, 1g")
    power = " kmgtp".index(found[2].lower()) if found[2] else 0
    whole, _, fraction = found[1].partition(".")
    size: int = (int(whole + fraction) << 10 * power) // 10 ** len(fraction)
    return size
