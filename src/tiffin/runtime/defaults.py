"""What a container gets when nobody asks for anything else. Each table says where it comes from."""

from tiffin.errors import InvalidArgument
from tiffin.kernel.process import CAPABILITIES
from tiffin.typed import Any, Iterable, NamedTuple, Sequence

# Podman's eleven. Docker adds the other three: raw sockets and device nodes are what escapes were built from,
# and ping works without them (see SYSCTLS).
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)

# The union of what Docker and Podman hide. thermal_throttle is there once a CPU: see `masked_paths`.
_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Ping without CAP_NET_RAW and ports below 1024 without CAP_NET_BIND_SERVICE, as Docker sets them.
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PIDS_LIMIT = 2048
SHM_SIZE = 64 << 20


class Device(NamedTuple):
    name: str  # below /dev
    major: int
    minor: int


# /dev of every container; all 0666, character devices.
DEVICES = (
    Device("null", 1, 3),
    Device("zero", 1, 5),
    Device("full", 1, 7),
    Device("random", 1, 8),
    Device("urandom", 1, 9),
    Device("tty", 5, 0),
)
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)


# As systemd, and so Docker, starts services: independent of the shell that a container is started from. 1024 is what
# programs expect that select(2) or that close every possible descriptor; those that need more raise it themselves.
_OPEN_FILES = (1024, 524288)


def rlimits(given: Sequence[tuple[str, int, int]]) -> tuple[tuple[str, int, int], ...]:
    """Those given, and the default ones that they do not name; none is above what this process may give."""
    if any(name == "nofile" for name, _, _ in given):
        return tuple(given)
    soft, hard = _OPEN_FILES
    with open("/proc/self/limits", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("Max open files"):
                own = line.split()[4]
                hard = min(hard, int(own)) if own.isdigit() else hard
    return (*given, ("nofile", min(soft, hard), hard))


def device_rules() -> list[dict[str, Any]]:
    """The device cgroup of an ordinary container: nothing but its own /dev; any node may be made (it cannot
    be opened), as Docker has it."""
    rules: list[dict[str, Any]] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},  # /dev/pts/*
        {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},  # /dev/ptmx
        {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},  # /dev/console
    ]
    rules += [
        {"allow": True, "type": "c", "major": device.major, "minor": device.minor, "access": "rwm"}
        for device in DEVICES
    ]
    return rules


def masked_paths() -> list[str]:
    """What is hidden from containers on this machine."""
    import os

    paths = list(_MASKED_PATHS)
    # All CPUs of a machine have it or none has.
    if os.path.exists("/sys/devices/system/cpu/cpu0/thermal_throttle"):
        cpus = os.cpu_count() or 1
        paths += [f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle" for cpu in range(cpus)]
    return paths


class CapabilityChoice(NamedTuple):
    """`granted`: for the container. `missing`: asked for, and not to be had on this machine; say so to the
    user rather than fail."""

    granted: tuple[str, ...]
    missing: tuple[str, ...]


def choose_capabilities(
    add: Iterable[str] = (),
    drop: Iterable[str] = (),
    *,
    privileged: bool = False,
    base: Iterable[str] = DEFAULT_CAPABILITIES,
    available: int | None = None,
) -> CapabilityChoice:
    """What `--cap-add`, `--cap-drop` and `--privileged` come to. Names with or without CAP_, in any case, or
    ALL. `available` is the bounding set as a mask, by default this process's. Raises InvalidArgument."""
    added, dropped = [capability(name) for name in add], [capability(name) for name in drop]
    if privileged or "ALL" in added:
        wanted = [name for name in CAPABILITIES if privileged or name not in dropped]
    else:
        kept = () if "ALL" in dropped else base
        wanted = [name for name in kept if name not in dropped]
        wanted += [name for name in added if name not in wanted]
    if available is None:
        from tiffin.kernel.process import bounding_set

        available = bounding_set()
    has = [name for name in wanted if available >> CAPABILITIES[name] & 1]
    return CapabilityChoice(tuple(has), tuple(name for name in wanted if name not in has))


def capability(name: str) -> str:
    """The full name. Raises InvalidArgument, worded as Docker does."""
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in CAPABILITIES:
        raise InvalidArgument(f"invalid capability: unknown capability: {name!r}")
    return full


def capability_mask(names: Iterable[str]) -> int:
    mask = 0
    for name in names:
        mask |= 1 << CAPABILITIES[name]
    return mask
