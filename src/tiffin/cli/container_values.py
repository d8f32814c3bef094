"""The values of options that few containers have, read as Docker reads them. Loaded only when one is given."""

import os
import re

from tiffin.cli.container_options import named_lines, size
from tiffin.containers.record import Device
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.typed import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.parser import Namespace
    from tiffin.containers.record import Resources
    from tiffin.engine.options import CreateOptions

_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_RULE = re.compile(r"[acb] (?:[0-9]{1,10}|\*):(?:[0-9]{1,10}|\*) [rwm]{1,3}")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_BITS = re.compile(r"([0-9]+(?:\.[0-9]+)?)(|[kmgt]?bit)", re.IGNORECASE)
_THOUSANDS = {"": 1, "bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_SLOWEST, _FASTEST = 8_000, 10**14


def complete(options: "CreateOptions", args: "Namespace") -> "CreateOptions":
    """`options` with what `container_flags.RARE` names. Raises InvalidArgument, Unsupported."""
    if args.gpus:
        raise Unsupported(
            'could not select device driver "" with capabilities: [[gpu]]: this version of tiffin gives containers '
            "no GPUs; pass their device files with --device"
        )
    if args.storage_opt:
        raise Unsupported("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    return options._replace(
        resources=_resources(options.resources, args),
        labels=(*_label_files(args.label_file), *options.labels),
        annotations=tuple(args.annotation),
        ulimits=tuple(ulimit(text) for text in args.ulimit),
        security_opts=tuple(_security(text) for text in args.security_opt),
        devices=tuple(device(text) for text in args.device),
        device_rules=tuple(_rule(text) for text in args.device_cgroup_rule),
        cgroup_parent=args.cgroup_parent,
        runtime=args.runtime,
        pid=args.pid,
        ipc=args.ipc,
        uts=args.uts,
        userns=args.userns,
        cgroupns=args.cgroupns,
        volumes_from=tuple(args.volumes_from),
        volume_driver=args.volume_driver,
    )


def _resources(found: "Resources", args: "Namespace") -> "Resources":
    to, out = bandwidth(args.bandwidth)
    return found._replace(
        blkio_weight_device=_of_devices(args.blkio_weight_device, "--blkio-weight-device", _weight),
        device_read_bps=_of_devices(args.device_read_bps, "--device-read-bps", _bytes),
        device_write_bps=_of_devices(args.device_write_bps, "--device-write-bps", _bytes),
        device_read_iops=_of_devices(args.device_read_iops, "--device-read-iops", _operations),
        device_write_iops=_of_devices(args.device_write_iops, "--device-write-iops", _operations),
        bandwidth_in=to,
        bandwidth_out=out,
    )


def _bad(text: str, option: str, why: str) -> NoReturn:
    raise InvalidArgument(f'invalid argument "{text}" for "{option}": {why}')


def ulimit(text: str) -> tuple[str, int, int]:
    """`NAME=SOFT[:HARD]`; -1 is unlimited."""
    name, equals, value = text.partition("=")
    if not equals:
        _bad(text, "--ulimit", f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        _bad(text, "--ulimit", f"invalid ulimit type: {name}")
    words = value.split(":")
    if len(words) > 2:
        _bad(
            text,
            "--ulimit",
            f"too many limit value arguments - {value}, can only have up to two, `soft[:hard]`",
        )
    if any(re.fullmatch(r"-1|[0-9]{1,18}", word) is None for word in words):
        _bad(text, "--ulimit", "a limit is a whole number, or -1 for none")
    soft, hard = int(words[0]), int(words[-1])
    if hard != -1 and (soft == -1 or soft > hard):
        shown = f"soft: -1 (unlimited), hard: {hard}" if soft == -1 else f"{soft} > {hard}"
        _bad(text, "--ulimit", f"ulimit soft limit must be less than or equal to hard limit: {shown}")
    return name, soft, hard


def device(text: str) -> Device:
    """`HOST`, `HOST:MODE`, `HOST:PATH` or `HOST:PATH:MODE`."""
    words = text.split(":")
    if len(words) > 3 or not words[0]:
        _bad(text, "--device", f"bad format for path: {text}")
    mode = "rwm"
    if len(words) == 3 or (len(words) == 2 and _is_access(words[1])):
        mode = words.pop()
    if not _is_access(mode):
        _bad(text, "--device", f"bad mode specified: {mode}")
    if not words[-1].startswith("/"):
        _bad(text, "--device", f"{words[-1]} is not an absolute path")
    return Device(os.path.normpath(words[0]), os.path.normpath(words[-1]), mode)


def _is_access(text: str) -> bool:
    return 0 < len(text) <= 3 and set(text) <= set("rwm") and len(set(text)) == len(text)


def _rule(text: str) -> str:
    if _RULE.fullmatch(text) is None:
        _bad(text, "--device-cgroup-rule", f"invalid device cgroup format '{text}'")
    return text


def bandwidth(text: str) -> tuple[int, int]:
    """Bits a second to and from the container; 0 for no limit. One number is for both."""
    if not text:
        return 0, 0
    words = text.split(":")
    if len(words) > 2:
        _bad(text, "--bandwidth", "want IN[:OUT], such as 10mbit:5mbit")
    rates = [_bits(text, word) if word else 0 for word in words]
    if not any(rates):
        _bad(text, "--bandwidth", "want IN[:OUT], such as 10mbit:5mbit")
    return rates[0], rates[-1]


def _bits(text: str, word: str) -> int:
    found = _BITS.fullmatch(word)
    if found is None:
        _bad(
            text, "--bandwidth", f"{word!r} is no rate: want bits a second, such as 500kbit, 10mbit or 1gbit"
        )
    rate = round(float(found[1]) * _THOUSANDS[found[2].lower()])
    if not _SLOWEST <= rate <= _FASTEST:
        _bad(text, "--bandwidth", f"{word} is out of range: 8kbit to 100tbit")
    return rate


def _of_devices(
    texts: list[str], option: str, read: "Callable[[str, str, str], int]"
) -> tuple[tuple[str, int], ...]:
    found = []
    for text in texts:
        path, colon, value = text.partition(":")
        if not colon or not path:
            _bad(text, option, f"bad format: {text}")
        if not path.startswith("/dev/"):
            _bad(text, option, f"bad format for device path: {text}")
        found.append((path, read(text, option, value)))
    return tuple(found)


def _weight(text: str, option: str, value: str) -> int:
    if re.fullmatch("[0-9]{1,5}", value) is None or (int(value) and not 10 <= int(value) <= 1000):
        _bad(text, option, f"invalid weight for device: {text}")
    return int(value)


def _bytes(text: str, option: str, value: str) -> int:
    found = _RATE.fullmatch(value)
    if found is None:
        _bad(
            text,
            option,
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
        )
    return size(value.replace(" ", ""), option)


def _operations(text: str, option: str, value: str) -> int:
    if re.fullmatch("[0-9]{1,18}", value) is None:
        _bad(
            text,
            option,
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer",
        )
    return int(value)


def _security(text: str) -> str:
    """A profile's path is made absolute: the record is not about where the command was typed."""
    for spelling in ("seccomp=", "seccomp:"):
        value = text.removeprefix(spelling)
        if value != text and value not in ("unconfined", "builtin", ""):
            if not os.path.isfile(value):
                raise NotFound(
                    f"opening seccomp profile ({value}) failed: open {value}: no such file or directory"
                )
            return f"seccomp={os.path.abspath(value)}"
    return text


def _label_files(files: list[str]) -> list[str]:
    return [line for name in files for line in named_lines(name, "a label", "label name")]
