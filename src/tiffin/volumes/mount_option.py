"""`--mount key=value,...` as Docker words it. Pure: nothing of the host is looked at.

--mount type=bind,source=/host,target=/c[,readonly]
--mount type=volume,source=data,target=/c[,volume-subpath=sub]
--mount type=tmpfs,target=/c[,tmpfs-size=64m]
--mount type=image,source=debian,target=/c[,image-subpath=usr/share]
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple, NoReturn
from tiffin.volumes.names import check_name
from tiffin.volumes.options import (
    BIND,
    CONSISTENCY,
    PROPAGATION,
    TMPFS_DEFAULTS,
    MountRequest,
    clean_path,
    nearest,
    target_of,
    tmpfs_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPES = ("bind", "volume", "tmpfs", "image")
_KEYS = (
    "type", "source", "target", "readonly", "consistency", "bind-propagation", "bind-recursive", "bind-nonrecursive",
    "bind-create-src", "volume-nocopy", "volume-subpath", "volume-driver", "volume-opt", "volume-label", "tmpfs-size",
    "tmpfs-mode", "image-subpath", "idmap",
)  # fmt: skip
_ALIASES = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly",
    "bind-create-host-path": "bind-create-src",
}  # fmt: skip
_ALONE = (
    "readonly",
    "volume-nocopy",
    "bind-nonrecursive",
    "bind-create-src",
    "idmap",
)  # may stand without a value
_REPEATED = ("volume-opt", "volume-label")
_RECURSION = ("enabled", "disabled", "writable", "readonly")
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")


class _Given(NamedTuple):
    """The words: `values` of keys that are given once, `pairs` of the others."""

    text: str
    values: dict[str, str]
    pairs: dict[str, list[tuple[str, str]]]

    def refuse(self, why: str) -> NoReturn:
        raise InvalidArgument(f'invalid argument "{self.text}" for "--mount" flag: {why}')

    def is_true(self, key: str) -> bool:
        value = self.values.get(key, "false").lower()
        if value not in (*_TRUE, *_FALSE):
            self.refuse(f"invalid value for {key}: {value}")
        return value in _TRUE


def parse_mount(text: str) -> MountRequest:
    """Fields are quoted as in CSV where a value has a comma. Raises InvalidArgument."""
    given = _read(text)
    kind = given.values.get("type", "volume").lower()
    if kind not in _TYPES:
        raise InvalidArgument(
            f'invalid mount config for type "{kind}": mount type unknown{nearest(kind, _TYPES)}'
        )
    for key in (*given.values, *given.pairs):
        prefix = key.partition("-")[0]
        if prefix in _TYPES and prefix != kind:
            given.refuse(f"cannot mix '{prefix}-*' options with mount type '{kind}'")
    if not given.values.get("target"):
        given.refuse("target is required")
    if given.values.get("consistency", "default") not in ("default", *CONSISTENCY):
        given.refuse(f"invalid consistency; use {', '.join(CONSISTENCY)}")
    target = target_of(given.values["target"], kind)
    made = {"bind": _bind, "volume": _volume, "tmpfs": _tmpfs, "image": _image}[kind](given, target)
    if "idmap" in given.values:
        if kind in ("tmpfs", "image"):
            given.refuse(f"idmap does not go with mount type '{kind}'")
        made = made._replace(idmap=_idmap(given))
    return made._replace(origin="--mount", given=_document(given, kind, made))


def _read(text: str) -> _Given:
    given = _Given(text, {}, {})
    for field in _split_fields(given):
        key, equals, value = field.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if key not in _KEYS:
            if not equals:
                given.refuse(f"invalid field '{field}' must be a key=value pair{nearest(key, _KEYS)}")
            given.refuse(f"unexpected key '{key}' in '{field}'{nearest(key, _KEYS)}")
        if not equals and key not in _ALONE:
            given.refuse(f"invalid field '{field}' must be a key=value pair")
        if key in _REPEATED:
            name, _, rest = value.partition("=")
            given.pairs.setdefault(key, []).append((name, rest))
        elif key in given.values:
            given.refuse(f"{key} is given twice")
        else:
            given.values[key] = value if equals else "true"
    return given


def _bind(given: _Given, target: str) -> MountRequest:
    source = given.values.get("source", "")
    if not source:
        raise InvalidArgument('invalid mount config for type "bind": field Source must not be empty')
    if not source.startswith("/"):
        raise InvalidArgument(
            f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute"
        )
    create = given.is_true("bind-create-src")
    return MountRequest("bind", clean_path(source), target, _bind_words(given), make_source=create)


def _bind_words(given: _Given) -> tuple[str, ...]:
    propagation = given.values.get("bind-propagation", "rprivate")
    if propagation not in PROPAGATION:
        given.refuse(f"invalid propagation '{propagation}'{nearest(propagation, PROPAGATION)}")
    readonly = given.is_true("readonly")
    recursion = given.values.get("bind-recursive", "enabled").lower()
    if recursion not in _RECURSION:
        given.refuse(
            f'invalid value for bind-recursive: {recursion} (must be "enabled", "disabled", "writable", or "readonly")'
        )
    if recursion in ("writable", "readonly") and not readonly:
        given.refuse(
            f"option 'bind-recursive={recursion}' requires 'readonly' to be specified in conjunction"
        )
    if recursion == "readonly" and propagation != "rprivate":
        given.refuse(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )
    bound = "bind" if recursion == "disabled" or given.is_true("bind-nonrecursive") else "rbind"
    access = ("ro",) if readonly else ()
    how = {"writable": ("ro-nonrecursive",), "readonly": ("rro",)}.get(recursion, ())
    return (bound, propagation, *access, *how)


def _volume(given: _Given, target: str) -> MountRequest:
    source = given.values.get("source", "")
    access = ("ro",) if given.is_true("readonly") else ()
    subpath = _subpath(given, "volume-subpath")
    return MountRequest(
        "volume",
        check_name(source) if source else "",
        target,
        (*BIND, "rprivate", *access),
        # A part must be there already: a volume that has it is not empty.
        copy=not given.is_true("volume-nocopy") and not subpath,
        subpath=subpath,
        volume_options=tuple(given.pairs.get("volume-opt", ())),
        labels=tuple(given.pairs.get("volume-label", ())),
        driver=given.values.get("volume-driver", ""),
    )


def _tmpfs(given: _Given, target: str) -> MountRequest:
    if "source" in given.values:
        raise InvalidArgument('invalid mount config for type "tmpfs": field Source must not be specified')
    words = [
        f"{key}={tmpfs_value(key, given.values['tmpfs-' + key], given.text)}"
        for key in ("size", "mode")
        if f"tmpfs-{key}" in given.values
    ]
    access = ("ro",) if given.is_true("readonly") else ()
    return MountRequest("tmpfs", "", target, (*TMPFS_DEFAULTS, *words, *access))


def _image(given: _Given, target: str) -> MountRequest:
    source = given.values.get("source", "")
    if not source:
        raise InvalidArgument('invalid mount config for type "image": field Source must not be empty')
    words = ("bind", "rprivate", "ro", "nosuid", "nodev")
    return MountRequest("image", source, target, words, subpath=_subpath(given, "image-subpath"))


def _document(given: _Given, kind: str, made: MountRequest) -> dict[str, Any]:
    """As Docker's API words the option; what is not said is left out."""
    values, pairs = given.values, given.pairs
    if kind == "bind":
        recursion = values.get("bind-recursive", "").lower()
        more: dict[str, Any] = {
            "Propagation": values.get("bind-propagation"),
            "NonRecursive": "bind" in made.options,
            "CreateMountpoint": made.make_source,
            "ReadOnlyNonRecursive": recursion == "writable",
            "ReadOnlyForceRecursive": recursion == "readonly",
        }
    elif kind == "volume":
        driver = {"Name": made.driver, "Options": dict(made.volume_options)}
        more = {
            "NoCopy": given.is_true("volume-nocopy"),
            "Labels": dict(pairs.get("volume-label", ())),
            "DriverConfig": {key: value for key, value in driver.items() if value},
            "Subpath": made.subpath,
        }
    elif kind == "tmpfs":
        more = {
            "SizeBytes": _bytes(values.get("tmpfs-size", "")),
            "Mode": int(values.get("tmpfs-mode", "0"), 8),
        }
    else:
        more = {"Subpath": made.subpath}
    whole = {
        "Type": kind,
        "Source": made.source,
        "Target": made.target,
        "ReadOnly": given.is_true("readonly"),
        "Consistency": values.get("consistency"),
        f"{kind.title()}Options": {key: value for key, value in more.items() if value},
    }
    return {key: value for key, value in whole.items() if value}


def _bytes(size: str) -> int:
    """0 for none, and for a part of the memory, which is no number of bytes."""
    number = size.lower().removesuffix("b")
    shift = {"k": 10, "m": 20, "g": 30, "t": 40}.get(number[-1:], 0)
    digits = number[:-1] if shift else number
    return int(digits) << shift if digits.isdigit() else 0


def _subpath(given: _Given, key: str) -> str:
    """A path below the volume or image, checked as text; what it leads through is seen to when it is opened."""
    path = given.values.get(key, "")
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        given.refuse(f"invalid {key} '{path}': it must be a relative path without '..'")
    return path.strip("/")


def _idmap(given: _Given) -> str:
    from tiffin.volumes.idmap import parse_idmap

    text = given.values["idmap"]
    if text not in _TRUE:
        parse_idmap(text, f"--mount {given.text}")
    return "idmap" if text in _TRUE else text


def _split_fields(given: _Given) -> Iterable[str]:
    """The fields of one CSV record (RFC 4180: a quoted field may hold commas; a quote in it is doubled)."""
    fields, text = [""], given.text
    quoted, position = False, 0
    while position < len(text):
        char = text[position]
        if quoted and text[position : position + 2] == '""':
            fields[-1] += '"'
            position += 1
        elif char == '"' and (quoted or not fields[-1]):
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append("")
        else:
            fields[-1] += char
        position += 1
    if quoted:
        given.refuse("a quote is not closed")
    return fields
