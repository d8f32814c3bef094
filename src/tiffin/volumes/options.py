"""What `-v`, `--mount` and `--tmpfs` say, as one plain value. Pure: the host's files are looked at elsewhere.

-v /host:/c[:ro]        a host path (made if missing)      --mount type=bind,source=/host,target=/c
-v name:/c[:ro]         a named volume                     --mount type=volume,source=name,target=/c
-v /c                   an anonymous volume                --mount type=volume,target=/c
--tmpfs /c[:size=64m]   memory                             --mount type=tmpfs,target=/c
"""

from __future__ import annotations

import os

from tiffin.errors import Conflict, InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple
from tiffin.volumes.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

PROPAGATION = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
CONSISTENCY = ("consistent", "cached", "delegated")  # all satisfied: a bind is the same files
_VOLUME_WORDS = ("ro", "rw", "z", "Z", "nocopy", *PROPAGATION, *CONSISTENCY)
_TMPFS_FLAGS = (
    *("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync"),
    *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"),
)
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")
TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_OPPOSITES = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "rw": "ro"}


class MountRequest(NamedTuple):
    """One mount that the user wants in a container.

    type           "bind", "volume", "tmpfs" or "image"
    source         bind: an absolute host path; volume: its name, "" for an anonymous one; image: its reference
    target         absolute and clean path in the container, never "/"
    options        words of the OCI runtime spec: "rbind", "rprivate", "ro", "size=64m", ...
    copy           volume: fill it, when empty, with what the image has at `target`
    make_source    bind: make a missing source as a directory
    relabel        "z" (shared), "Z" (private) or "": an SELinux label for the source
    subpath        volume and image: mount this path below it, "" the whole
    idmap          "idmap", a mapping as `idmap.parse_idmap` takes it, or ""
    volume_options, labels   volume: what it is made with if it is not there
    driver         volume: its driver; "" for the one that it has, else the local one
    origin         "-v", "--mount" or "--tmpfs"; "" for what an image declares or another container has
    given          what was asked for there, as `inspect` shows it: -v's text with an absolute source, --mount as
                   Docker's document of it, the options of --tmpfs
    """

    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    copy: bool = False
    make_source: bool = False
    relabel: str = ""
    subpath: str = ""
    idmap: str = ""
    volume_options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    driver: str = ""
    origin: str = ""
    given: str | dict[str, Any] = ""

    @property
    def readonly(self) -> bool:
        return "ro" in self.options


def parse_volume(text: str, base: str = "/") -> MountRequest:
    """`-v [source:]target[:words]`. A source that begins with "/" or "." is a host path, relative to `base`
    (the working directory); any other is a volume's name. Raises InvalidArgument."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidArgument(
            f"invalid volume specification: '{text}'; write SOURCE:TARGET[:OPTIONS] or TARGET"
        )
    if len(parts) == 1:
        target = _volume_target(parts[0], text, "volume")
        return MountRequest("volume", "", target, (*BIND, "rprivate"), copy=True, origin="-v", given=target)
    if len(parts) == 2 and _is_words(parts[1]):
        raise InvalidArgument(
            f"invalid volume specification: '{text}'; options need a source, as NAME:{text}"
        )
    source, path = parts[0], parts[0][0] in "/."
    target = _volume_target(parts[1], text, "bind" if path else "volume")
    words = parts[2].split(",") if len(parts) == 3 else []
    idmap = _take_idmap(words, text)
    options, copy, relabel = _volume_words(words, text, path=path)
    if path:
        source = clean_path(source if source[0] == "/" else f"{base}/{source}")
        made = MountRequest("bind", source, target, options, make_source=True, relabel=relabel, idmap=idmap)
    else:
        made = MountRequest(
            "volume", check_name(source), target, options, copy=copy, relabel=relabel, idmap=idmap
        )
    return made._replace(origin="-v", given=":".join((source, *parts[1:])))


def _volume_target(path: str, text: str, kind: str) -> str:
    try:
        return target_of(path, kind)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid volume specification: '{text[:200]}': {error}") from None


def _take_idmap(words: list[str], text: str) -> str:
    """The mapping that is among the words, which is taken out of them; "" for none."""
    found = [word for word in words if word.partition("=")[0] == "idmap"]
    for word in found:
        words.remove(word)
    if len(found) > 1:
        raise InvalidArgument(f"invalid volume specification: '{text}': idmap is given twice")
    mapping = found[0].partition("=")[2] if found else ""
    if mapping:
        from tiffin.volumes.idmap import parse_idmap

        parse_idmap(mapping, f"-v {text}")
    return mapping or ("idmap" if found else "")


def parse_tmpfs(text: str) -> MountRequest:
    """`--tmpfs target[:word,key=value,...]`. noexec, nosuid and nodev unless the opposite is said."""
    target, _, words = text.partition(":")
    options = list(TMPFS_DEFAULTS)
    for word in filter(None, words.split(",")):
        key, equals, value = word.partition("=")
        if equals and key in _TMPFS_VALUES:
            options.append(f"{key}={tmpfs_value(key, value, text)}")
        elif not equals and key in _TMPFS_FLAGS:
            opposite = _OPPOSITES.get(key)
            options = [option for option in options if option not in (opposite, key)]
            options.append(key)
        else:
            known = (*_TMPFS_FLAGS, *_TMPFS_VALUES)
            raise InvalidArgument(f"unknown option {word!r} in --tmpfs {text}{nearest(key, known)}")
    return MountRequest(
        "tmpfs", "", target_of(target, "tmpfs"), tuple(options), origin="--tmpfs", given=words
    )


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


BIND = ("rbind",)


def _volume_words(words: list[str], text: str, *, path: bool) -> tuple[tuple[str, ...], bool, str]:
    """The options, whether to copy, and the relabelling that -v's last part asks for."""
    given = ["nocopy" if word == "volume-nocopy" else word for word in words]
    for word in given:
        if word not in _VOLUME_WORDS:
            raise InvalidArgument(f"invalid mode: {word} in -v {text}{nearest(word, _VOLUME_WORDS)}")
        if word == "nocopy" and path:
            raise InvalidArgument(f"nocopy in -v {text} is for volumes; a host path is never copied to")
        if word in PROPAGATION and not path:
            raise InvalidArgument(f"{word} in -v {text} is for host paths; a volume is always private")
    for group in (("ro", "rw"), ("z", "Z"), PROPAGATION, CONSISTENCY, ("nocopy",)):
        if sum(word in group for word in given) > 1:
            raise InvalidArgument(f"conflicting options in -v {text}: give one of {', '.join(group)}")
    propagation = next((word for word in given if word in PROPAGATION), "rprivate")
    relabel = next((word for word in given if word in ("z", "Z")), "")
    access = ("ro",) if "ro" in given else ()
    return (*BIND, propagation, *access), "nocopy" not in given, relabel


def tmpfs_value(key: str, value: str, text: str) -> str:
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


def _is_words(text: str) -> bool:
    return all(word in _VOLUME_WORDS for word in text.split(","))


def target_of(path: str, kind: str) -> str:
    """The clean path of a mount's target. Raises InvalidArgument in Docker's words."""
    config = f'invalid mount config for type "{kind}"'
    if "\0" in path or len(os.fsencode(path)) >= 4096:
        raise InvalidArgument(f"{config}: invalid mount path: a path has at most 4095 bytes and no NUL")
    if not path.startswith("/"):
        raise InvalidArgument(f"{config}: invalid mount path: '{path}' mount path must be absolute")
    cleaned = clean_path(path)
    if cleaned == "/":
        raise InvalidArgument(f"{config}: invalid specification: destination can't be '/'")
    return cleaned


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that was probably meant."""
    from difflib import get_close_matches  # an error path: its import may cost

    names = list(known)
    close = get_close_matches(word, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; use one of {', '.join(names)}"
