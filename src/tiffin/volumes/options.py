"""What `-v`, `--mount` and `--tmpfs` say, as one plain value. Pure: the host's files are looked at elsewhere.

-v /host:/c[:ro]        a host path (made if missing)      --mount type=bind,source=/host,target=/c
-v name:/c[:ro]         a named volume                     --mount type=volume,source=name,target=/c
-v /c                   an anonymous volume                --mount type=volume,target=/c
--tmpfs /c[:size=64m]   memory                             --mount type=tmpfs,target=/c
"""

from __future__ import annotations

import os

from tiffin.errors import Conflict, InvalidArgument, Unsupported
from tiffin.typed import TYPE_CHECKING, NamedTuple
from tiffin.volumes.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROPAGATION = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_CONSISTENCY = ("consistent", "cached", "delegated")  # all satisfied: a bind is the same files
_VOLUME_WORDS = ("ro", "rw", "z", "Z", "nocopy", *_PROPAGATION, *_CONSISTENCY)
_MOUNT_TYPES = ("bind", "volume", "tmpfs")
_MOUNT_KEYS = {
    "type": "",
    "source": "bind volume",
    "target": "",
    "readonly": "",
    "consistency": "",
    "bind-propagation": "bind",
    "bind-recursive": "bind",
    "volume-nocopy": "volume",
    "tmpfs-size": "tmpfs",
    "tmpfs-mode": "tmpfs",
}
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_NOT_YET = ("volume-driver", "volume-opt", "volume-label", "volume-subpath", "bind-nonrecursive")
_TMPFS_FLAGS = (
    *("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync"),
    *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"),
)
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")
_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_OPPOSITES = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "rw": "ro"}


class MountRequest(NamedTuple):
    """One mount that the user wants in a container.

    type           "bind", "volume" or "tmpfs"
    source         bind: an absolute host path; volume: its name, "" for an anonymous one; tmpfs: ""
    target         absolute and clean path in the container, never "/"
    options        words of the OCI runtime spec: "rbind", "rprivate", "ro", "size=64m", ...
    copy           volume: fill it, when empty, with what the image has at `target`
    make_source    bind: make a missing source as a directory
    relabel        "z" (shared), "Z" (private) or "": an SELinux label for the source
    """

    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    copy: bool = False
    make_source: bool = False
    relabel: str = ""

    @property
    def readonly(self) -> bool:
        return "ro" in self.options


def parse_volume(text: str, base: str = "/") -> MountRequest:
    """`-v [source:]target[:words]`. A source that begins with "/" or "." is a host path, relative to `base`
    (the working directory); any other is a volume's name. Raises InvalidArgument."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidArgument(f"invalid volume {text!r}; write SOURCE:TARGET[:OPTIONS] or TARGET")
    if len(parts) == 1:
        return MountRequest("volume", "", _target(parts[0], text), (*_BIND, "rprivate"), copy=True)
    if len(parts) == 2 and _is_words(parts[1]):
        raise InvalidArgument(f"invalid volume {text!r}; options need a source, as NAME:{text}")
    source, target = parts[0], _target(parts[1], text)
    path = source[0] in "/."
    words, copy, relabel = _volume_words(parts[2] if len(parts) == 3 else "", text, path=path)
    if path:
        source = clean_path(source if source[0] == "/" else f"{base}/{source}")
        return MountRequest("bind", source, target, words, make_source=True, relabel=relabel)
    return MountRequest("volume", check_name(source), target, words, copy=copy, relabel=relabel)


def parse_mount(text: str) -> MountRequest:
    """`--mount key=value,...`, fields quoted as in CSV where a value has a comma. Raises InvalidArgument,
    Unsupported."""
    given: dict[str, str] = {}
    for field in _split_fields(text):
        key, equals, value = field.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if key in _NOT_YET:
            raise Unsupported(f"{key} in --mount {text} is not supported")
        if key not in _MOUNT_KEYS:
            raise InvalidArgument(f"unknown key {key!r} in --mount {text}{_nearest(key, _MOUNT_KEYS)}")
        if not equals and key not in ("readonly", "volume-nocopy"):
            raise InvalidArgument(f"no value for {key} in --mount {text}; write {key}=VALUE")
        if key in given:
            raise InvalidArgument(f"{key} is given twice in --mount {text}")
        given[key] = value if equals else "true"
    kind = given.pop("type", "volume")
    if kind not in _MOUNT_TYPES:
        raise InvalidArgument(f"unknown type {kind!r} in --mount {text}{_nearest(kind, _MOUNT_TYPES)}")
    for key in given:
        if _MOUNT_KEYS[key] and kind not in _MOUNT_KEYS[key].split():
            raise InvalidArgument(f"{key} does not go with type={kind} in --mount {text}")
    if "target" not in given:
        raise InvalidArgument(f"no target in --mount {text}; add target=PATH")
    if given.get("consistency", "consistent") not in _CONSISTENCY:
        raise InvalidArgument(f"invalid consistency in --mount {text}; use {', '.join(_CONSISTENCY)}")
    target = _target(given["target"], text)
    access = ("ro",) if _is_true(given, "readonly", text) else ()
    source = given.get("source", "")
    if kind == "tmpfs":
        return MountRequest("tmpfs", "", target, (*_TMPFS_DEFAULTS, *_tmpfs_settings(given, text), *access))
    if kind == "volume":
        copy = not _is_true(given, "volume-nocopy", text)
        return MountRequest(
            "volume", check_name(source) if source else "", target, (*_BIND, "rprivate", *access), copy=copy
        )
    if not source.startswith("/"):
        raise InvalidArgument(f"the source of --mount {text} is no absolute path; write source=/PATH")
    return MountRequest("bind", clean_path(source), target, (*_bind_words(given, text), *access))


def parse_tmpfs(text: str) -> MountRequest:
    """`--tmpfs target[:word,key=value,...]`. noexec, nosuid and nodev unless the opposite is said."""
    target, _, words = text.partition(":")
    options = list(_TMPFS_DEFAULTS)
    for word in filter(None, words.split(",")):
        key, equals, value = word.partition("=")
        if equals and key in _TMPFS_VALUES:
            options.append(f"{key}={_tmpfs_value(key, value, text)}")
        elif not equals and key in _TMPFS_FLAGS:
            opposite = _OPPOSITES.get(key)
            options = [option for option in options if option not in (opposite, key)]
            options.append(key)
        else:
            known = (*_TMPFS_FLAGS, *_TMPFS_VALUES)
            raise InvalidArgument(f"unknown option {word!r} in --tmpfs {text}{_nearest(key, known)}")
    return MountRequest("tmpfs", "", _target(target, text), tuple(options))


def check_targets(requests: Iterable[MountRequest]) -> None:
    """Refuse two mounts at one place. Raises Conflict "Duplicate mount point: PATH"."""
    seen: set[str] = set()
    for request in requests:
        if request.target in seen:
            raise Conflict(f"Duplicate mount point: {request.target}")
        seen.add(request.target)


def clean_path(path: str) -> str:
    """An absolute path without ".", "..", "//" or a last "/", by its text alone."""
    return "/" + os.path.normpath(path).lstrip("/")


_BIND = ("rbind",)


def _volume_words(words: str, text: str, *, path: bool) -> tuple[tuple[str, ...], bool, str]:
    """The options, whether to copy, and the relabelling that -v's last part asks for."""
    given = words.split(",") if words else []
    for word in given:
        if word not in _VOLUME_WORDS:
            raise InvalidArgument(f"unknown option {word!r} in -v {text}{_nearest(word, _VOLUME_WORDS)}")
        if word == "nocopy" and path:
            raise InvalidArgument(f"nocopy in -v {text} is for volumes; a host path is never copied to")
        if word in _PROPAGATION and not path:
            raise InvalidArgument(f"{word} in -v {text} is for host paths; a volume is always private")
    for group in (("ro", "rw"), ("z", "Z"), _PROPAGATION, _CONSISTENCY, ("nocopy",)):
        if sum(word in group for word in given) > 1:
            raise InvalidArgument(f"conflicting options in -v {text}: give one of {', '.join(group)}")
    propagation = next((word for word in given if word in _PROPAGATION), "rprivate")
    relabel = next((word for word in given if word in ("z", "Z")), "")
    access = ("ro",) if "ro" in given else ()
    return (*_BIND, propagation, *access), "nocopy" not in given, relabel


def _bind_words(given: dict[str, str], text: str) -> tuple[str, str]:
    propagation = given.get("bind-propagation", "rprivate")
    if propagation not in _PROPAGATION:
        hint = _nearest(propagation, _PROPAGATION)
        raise InvalidArgument(f"invalid bind-propagation {propagation!r} in --mount {text}{hint}")
    recursive = given.get("bind-recursive", "enabled")
    if recursive not in ("enabled", "disabled"):
        raise InvalidArgument(
            f"invalid bind-recursive {recursive!r} in --mount {text}; use enabled or disabled"
        )
    return ("rbind" if recursive == "enabled" else "bind"), propagation


def _tmpfs_settings(given: dict[str, str], text: str) -> list[str]:
    return [
        f"{key}={_tmpfs_value(key, given['tmpfs-' + key], text)}"
        for key in ("size", "mode")
        if f"tmpfs-{key}" in given
    ]


def _tmpfs_value(key: str, value: str, text: str) -> str:
    """A checked value, sizes with their unit in lower case as tmpfs takes it."""
    number, allowed = value, "0123456789"
    if key == "mode":
        allowed = "01234567"
    elif key in ("size", "nr_inodes", "nr_blocks"):
        value = value.lower()
        if key == "size" and value.endswith("b") and len(value) > 1:
            value = value[:-1]
        units = "kmgt%" if key == "size" else "kmg"
        number = value[:-1] if value[-1:] and value[-1] in units else value
    if (
        not number
        or len(number) > 20
        or not set(number) <= set(allowed)
        or (key == "mode" and len(number) > 5)
    ):
        raise InvalidArgument(f"invalid {key} {value!r} for a tmpfs in {text}; as size=64m or mode=1777")
    return value


def _is_true(given: dict[str, str], key: str, text: str) -> bool:
    value = given.get(key, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid value {value!r} for {key} in --mount {text}; use true or false")
    return value in ("true", "1")


def _is_words(text: str) -> bool:
    return all(word in _VOLUME_WORDS for word in text.split(","))


def _target(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid target {path!r} in {text}; it is an absolute path in the container")
    if "\0" in path or len(os.fsencode(path)) >= 4096:
        raise InvalidArgument(f"invalid target in {text[:80]!r}; a path has at most 4095 bytes and no NUL")
    cleaned = clean_path(path)
    if cleaned == "/":
        raise InvalidArgument(f"invalid target in {text}: the root directory is the image's")
    return cleaned


def _split_fields(text: str) -> list[str]:
    """The fields of one CSV record (RFC 4180: a quoted field may hold commas; a quote in it is doubled)."""
    fields = [""]
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
        raise InvalidArgument(f"a quote is not closed in --mount {text}")
    return fields


def _nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that was probably meant."""
    from difflib import get_close_matches  # an error path: its import may cost

    names = list(known)
    close = get_close_matches(word, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; use one of {', '.join(names)}"
