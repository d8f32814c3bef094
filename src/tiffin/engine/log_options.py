"""--log-driver and --log-opt: Docker's names and checks, settled into a LogConfig when a container is created."""

import re

from tiffin.containers.record import DEFAULT_LOG_FILES, DEFAULT_LOG_SIZE, LogConfig
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMMON = {"mode", "max-buffer-size"}
_CHOSEN = {"labels", "labels-regex", "env", "env-regex", "tag"}
_CACHE = {"cache-max-size", "cache-max-file"}
OPTIONS = {
    "json-file": {"max-size", "max-file"} | _COMMON | _CHOSEN,
    "local": {"max-size", "max-file"} | _COMMON,
    "syslog": {"syslog-address", "syslog-facility", "syslog-format"} | _COMMON | _CHOSEN | _CACHE,
    "journald": _COMMON | _CHOSEN | _CACHE,
    "none": set(),
}  # fmt: skip
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
DEFAULT = LogConfig()


class Subject(NamedTuple):
    """What tags and attributes are made of: Docker's names for a container."""

    id: str
    name: str
    image_id: str
    image_name: str
    env: "Iterable[str]"
    labels: dict[str, str]


def settle(log: LogConfig, subject: Subject) -> LogConfig:
    """The log's settings once they make sense: sizes, tag and attributes out of the options as the user gave them.
    Raises InvalidArgument."""
    known = OPTIONS.get(log.driver)
    if known is None:
        raise InvalidArgument(
            f"logger: no log driver named '{log.driver}' is registered; there are {', '.join(OPTIONS)}"
        )
    for name in log.options:
        if name not in known:
            raise InvalidArgument(f"unknown log opt '{name}' for {log.driver} log driver")
    if log.driver != "none" and log.options:
        log = _sized(log)._replace(tag=_tag(log, subject), attributes=_attributes(log, subject))
        _check_mode(log)
    if log.max_file < 1 or log.max_size < 0:
        raise InvalidArgument("max-file cannot be less than 1, max-size cannot be negative")
    if log.driver == "syslog":
        _check_syslog(log)
    if log.driver == "journald":
        from tiffin.supervisor.logs.journald import reachable

        if not reachable():
            raise InvalidArgument("journald is not enabled on this host; choose another --log-driver")
    return log


def _sized(log: LogConfig) -> LogConfig:
    prefix = "cache-" if log.driver in ("syslog", "journald") else ""
    size, files = log.options.get(f"{prefix}max-size"), log.options.get(f"{prefix}max-file")
    default = (log.max_size, log.max_file) if log != DEFAULT else (DEFAULT_LOG_SIZE, DEFAULT_LOG_FILES)
    if files is not None and not (files.isascii() and files.isdigit()):
        raise InvalidArgument(f"invalid value for max-file: {files!r}; want a whole number")
    buffer = log.options.get("max-buffer-size")
    return log._replace(
        max_size=default[0] if size is None else 0 if size == "-1" else _bytes(size, "max-size"),
        max_file=default[1] if files is None else int(files),
        buffer_size=_bytes(buffer, "max-buffer-size") if buffer else 0,
    )


def _bytes(text: str, name: str) -> int:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([bkmgt]?)(?:i?b)?", text.lower())
    if found is None:
        raise InvalidArgument(f"invalid value for {name}: {text!r}; want a size such as 10m")
    return int(float(found[1]) * _UNITS[found[2]])


def _check_mode(log: LogConfig) -> None:
    mode = log.options.get("mode", "blocking")
    if mode not in ("blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}; want blocking or non-blocking")
    if log.buffer_size and mode != "non-blocking":
        raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")


def _check_syslog(log: LogConfig) -> None:
    from tiffin.supervisor.logs import syslog

    facility = log.options.get("syslog-facility", "daemon")
    if facility not in syslog.FACILITIES and not (facility.isdigit() and int(facility) < 24):
        raise InvalidArgument(f"invalid syslog facility {facility!r}; want daemon, local0 or the like")
    if log.options.get("syslog-format", "rfc3164") not in syslog.FORMATS:
        raise InvalidArgument(
            f"invalid syslog format {log.options['syslog-format']!r}; want {', '.join(syslog.FORMATS)}"
        )
    address = log.options.get("syslog-address")
    if address is not None:
        try:
            syslog.parse_address(address)
        except ValueError:
            raise InvalidArgument(
                f"invalid syslog-address {address!r}; want {', '.join(f'{s}://' for s in syslog.SCHEMES)} and where"
            ) from None


def _attributes(log: LogConfig, subject: Subject) -> dict[str, str]:
    """The labels and variables that the options name, and the tag of a json-file log, as Docker's `attrs`."""
    options = log.options
    variables = dict(item.partition("=")[::2] for item in subject.env)
    found: dict[str, str] = {}
    for values, names, pattern in (
        (subject.labels, options.get("labels", ""), options.get("labels-regex", "")),
        (variables, options.get("env", ""), options.get("env-regex", "")),
    ):
        wanted = {name.strip() for name in names.split(",") if name.strip()}
        try:
            matches = re.compile(pattern).search if pattern else None
        except re.error as error:
            raise InvalidArgument(f"invalid regular expression {pattern!r} in a log opt: {error}") from error
        found |= {k: v for k, v in values.items() if k in wanted or (matches is not None and matches(k))}
    if log.driver == "json-file" and "tag" in options:
        found["tag"] = _tag(log, subject)
    return found


def _tag(log: LogConfig, subject: Subject) -> str:
    fields = {
        "ID": subject.id[:12],
        "FullID": subject.id,
        "Name": subject.name,
        "ImageID": subject.image_id.removeprefix("sha256:")[:12],
        "ImageFullID": subject.image_id,
        "ImageName": subject.image_name,
        "DaemonName": "tiffin",
    }

    def value(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise InvalidArgument(f"log opt tag: no field .{match[1]}; there are {', '.join(fields)}")
        return fields[match[1]]

    text = re.sub(r"\{\{-?\s*\.(\w+)\s*-?\}\}", value, log.options.get("tag", ""))
    if "{{" in text:
        raise InvalidArgument(
            f"log opt tag: cannot read {log.options['tag']!r}; want fields such as {{{{.Name}}}}"
        )
    return text
