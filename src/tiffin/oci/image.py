"""Image configs (image-spec, config.md): checking what came from outside, and making the next from the last.

A config is kept as the plain document that it is, byte for byte where it came from outside, because its
digest is the image's ID. `check_config` states which parts the rest of tiffin may then rely on.
"""

from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded
from tiffin.oci.descriptor import LAYERS_MAX, decode_json
from tiffin.oci.digest import check_digest, sha256
from tiffin.oci.platform import Platform, normal
from tiffin.typed import Any, NamedTuple

HISTORY_MAX = 2000
_LIST_MAX = 65536

# The keys of `config` that the run path reads, by form. Others are carried along and never read.
_STRINGS = ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname")
_LISTS = ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild")
_MAPS = ("ExposedPorts", "Volumes", "Labels")


class History(NamedTuple):
    """One step in an image's making; `empty_layer` steps changed the config alone. `created` is RFC 3339."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False

    def document(self) -> dict[str, Any]:
        """The JSON form, empty members left out."""
        return {key: value for key, value in self._asdict().items() if value}


def parse_config(data: bytes, what: str = "image config") -> dict[str, Any]:
    """The checked document of a config's bytes. Raises Corrupt, LimitExceeded."""
    return check_config(decode_json(data, what), what)


def check_config(document: Any, what: str = "image config") -> dict[str, Any]:
    """`document` itself once it holds: string `os` and `architecture`; `rootfs.diff_ids` a list of checked
    digests; `history` a list of objects; in `config`, each member that tiffin reads of its right form.
    Raises Corrupt, LimitExceeded."""
    if not isinstance(document, dict):
        raise Corrupt(f"{what} is not a JSON object")
    if not all(
        isinstance(document.get(key, ""), str) for key in ("os", "architecture", "variant", "created")
    ):
        raise Corrupt(f"{what} has a malformed platform or time")
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(_member(rootfs, "diff_ids", []), list):
        raise Corrupt(f"{what} has no rootfs.diff_ids")
    ids = _member(rootfs, "diff_ids", [])
    if len(ids) > LAYERS_MAX:
        raise LimitExceeded(f"{what} has {len(ids)} layers; {LAYERS_MAX} at most")
    try:
        for diff_id in ids:
            check_digest(diff_id, f"diff_id in {what}")
    except InvalidArgument as error:
        raise Corrupt(str(error)) from error
    _check_history(_member(document, "history", []), what)
    _check_settings(_member(document, "config", {}), what)
    return document


def _member(document: dict[str, Any], key: str, default: Any) -> Any:
    """A member; Go writes null for one that is empty."""
    value = document.get(key)
    return default if value is None else value


def _check_history(history: Any, what: str) -> None:
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise Corrupt(f"{what} has a malformed history")
    if len(history) > HISTORY_MAX:
        raise LimitExceeded(f"{what} has {len(history)} history entries; {HISTORY_MAX} at most")


def _check_settings(settings: Any, what: str) -> None:
    if not isinstance(settings, dict):
        raise Corrupt(f"{what}: config is not a JSON object")
    for key in _STRINGS:
        if not isinstance(_member(settings, key, ""), str):
            raise Corrupt(f"{what}: {key} is not a string")
    for key in _LISTS:
        value = _member(settings, key, [])
        if (
            not isinstance(value, list)
            or len(value) > _LIST_MAX
            or not all(isinstance(v, str) for v in value)
        ):
            raise Corrupt(f"{what}: {key} is not a list of strings")
    for key in _MAPS:
        value = _member(settings, key, {})
        if not isinstance(value, dict) or len(value) > _LIST_MAX:
            raise Corrupt(f"{what}: {key} is not an object")
    if not all(isinstance(value, str) for value in (settings.get("Labels") or {}).values()):
        raise Corrupt(f"{what}: a label is not a string")


def diff_ids(config: dict[str, Any]) -> tuple[str, ...]:
    """The DiffIDs of a checked config, bottom first."""
    return tuple(config["rootfs"].get("diff_ids") or ())


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The execution settings (`config`: Env, Cmd, ...) of a checked config; {} when it has none."""
    return config.get("config") or {}


def platform(config: dict[str, Any]) -> Platform:
    """The platform of a checked config."""
    return normal(Platform(config.get("os", ""), config.get("architecture", ""), config.get("variant", "")))


def empty_config(target: Platform, created: str = "") -> dict[str, Any]:
    """The config of an image with nothing in it (FROM scratch)."""
    document: dict[str, Any] = {"architecture": target.architecture, "os": target.os}
    if target.variant:
        document["variant"] = target.variant
    if created:
        document["created"] = created
    return document | {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}


def extend_config(
    base: dict[str, Any], history: History, diff_id: str = "", changed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A new config: `base` with one more history entry, with the layer `diff_id` on top unless it is "" (then
    the entry is marked as an empty layer), and with `changed` for its execution settings unless None. `base`
    is not touched. Members that describe the base's own making (author, container) do not carry over."""
    document = {
        key: value for key, value in base.items() if key not in ("author", "container", "container_config")
    }
    document["created"] = history.created or base.get("created", "")
    if history.author:
        document["author"] = history.author
    document["config"] = dict(settings(base) if changed is None else changed)
    layers = list(diff_ids(base)) + ([diff_id] if diff_id else [])
    document["rootfs"] = {"type": "layers", "diff_ids": layers}
    entry = history._replace(empty_layer=not diff_id).document()
    document["history"] = [*(base.get("history") or []), entry]
    return document


def chain_ids(layers: tuple[str, ...]) -> list[str]:
    """The ChainID of each layer, bottom first (image-spec, config.md#layer-chainid)."""
    found: list[str] = []
    for diff_id in layers:
        if found:
            diff_id = f"sha256:{sha256(f'{found[-1]} {diff_id}'.encode())}"
        found.append(diff_id)
    return found


def parse_time(text: object) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; 0 for what is none (a config's time is decoration)."""
    import re
    from calendar import timegm

    if not isinstance(text, str):
        return 0
    form = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))"
    match = re.fullmatch(form, text[:64], re.ASCII)
    if match is None:
        return 0
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and year >= 1970):
        return 0
    seconds = timegm((year, month, day, hour, minute, second, 0, 0, 0))
    if match[8]:
        shift = int(match[9]) * 3600 + int(match[10]) * 60
        seconds += shift if match[8] == "-" else -shift
    return seconds * 1_000_000_000 + int((match[7] or "0").ljust(9, "0"))


def format_time(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nanoseconds, trailing zeros dropped, as Go writes it."""
    import time

    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    digits = f"{fraction:09d}".rstrip("0")
    return f"{text}.{digits}Z" if digits else f"{text}Z"
