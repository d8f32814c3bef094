"""The types and values of a runtime-spec document, as data; `check` compares.

A shape is a word ("text", "flag", "int32", ...), a list of one shape (an array), a dict (an object: "key!" must be
there), a frozenset (an enumeration), or `Map(shape)` (an object with any keys). null counts as absent, as Go programs
write it. Keys that no shape names are left alone, as the specification asks.
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.oci.reference import shown
from tiffin.runtime.extras.hooks import KINDS
from tiffin.runtime.extras.placement import (
    DOMAINS,
    FLAGS,
    IO_CLASSES,
    MEMORY_FLAGS,
    MEMORY_MODES,
    POLICIES,
)
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Shape = Any

_NUMBERS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint16": (0, (1 << 16) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
    "id": (0, (1 << 31) - 1),
    "positive": (1, (1 << 31) - 1),
}
_MOST = 100_000  # entries of an array or object
_LONGEST = 1 << 20  # characters of a text


class Map:
    """An object with any keys and values of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def check(value: Any, shape: Shape, where: str) -> None:
    """Raises InvalidArgument that names the place."""
    if isinstance(shape, str):
        _check_plain(value, shape, where)
    elif isinstance(shape, frozenset):
        if not isinstance(value, str) or value not in shape:
            raise InvalidArgument(f"{where}: {value!r} is not one of {', '.join(sorted(shape))}")
    elif isinstance(shape, list):
        if not isinstance(value, list) or len(value) > _MOST:
            raise InvalidArgument(f"{where} must be an array of at most {_MOST} entries")
        for number, entry in enumerate(value):
            check(entry, shape[0], f"{where}[{number}]")
    elif isinstance(shape, Map):
        _check_object(value, where)
        for key, entry in value.items():
            check(entry, shape.shape, f"{where}.{shown(key)}")
    else:
        _check_object(value, where)
        for word, inner in shape.items():
            key = word.rstrip("!")
            if value.get(key) is not None:
                check(value[key], inner, f"{where}.{key}")
            elif word.endswith("!"):
                raise InvalidArgument(f"{where}: {key} is missing")


def _check_object(value: Any, where: str) -> None:
    if not isinstance(value, dict) or len(value) > _MOST:
        raise InvalidArgument(f"{where} must be an object of at most {_MOST} entries")


def _check_plain(value: Any, kind: str, where: str) -> None:
    if kind == "text":
        if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
            raise InvalidArgument(f"{where} must be a text without NUL, not {str(value)[:40]!r}")
    elif kind == "flag":
        if not isinstance(value, bool):
            raise InvalidArgument(f"{where} must be true or false, not {str(value)[:40]!r}")
    else:
        low, high = _NUMBERS[kind]
        if type(value) is not int or not low <= value <= high:
            raise InvalidArgument(f"{where} must be a number from {low} to {high}, not {str(value)[:40]!r}")


def _enum(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TEXTS = ["text"]
_ID_MAPPINGS = [{"containerID!": "uint32", "hostID!": "uint32", "size!": "uint32"}]
_HOOKS = [{"path!": "text", "args": _TEXTS, "env": _TEXTS, "timeout": "positive"}]
_RLIMITS = _enum(
    "RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE "
    "RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME"
)
PROCESS = {
    "terminal": "flag",
    "consoleSize": {"height!": "uint16", "width!": "uint16"},
    "cwd!": "text",
    "env": _TEXTS,
    "args": _TEXTS,
    "user": {"uid": "id", "gid": "id", "umask": "uint32", "additionalGids": ["id"]},
    "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), _TEXTS),
    "rlimits": [{"type!": _RLIMITS, "soft!": "uint64", "hard!": "uint64"}],
    "noNewPrivileges": "flag",
    "apparmorProfile": "text",
    "selinuxLabel": "text",
    "oomScoreAdj": "int32",
    "scheduler": {
        "policy!": frozenset(POLICIES),
        "nice": "int32",
        "priority": "int32",
        "flags": [frozenset(FLAGS)],
        "runtime": "uint64",
        "deadline": "uint64",
        "period": "uint64",
    },
    "ioPriority": {"class!": frozenset(IO_CLASSES), "priority": "int32"},
    "execCPUAffinity": {"initial": "text", "final": "text"},
}
_BLOCK_RATES = [{"major!": "int64", "minor!": "int64", "rate": "uint64"}]
RESOURCES = {
    "unified": Map("text"),
    "devices": [
        {"allow!": "flag", "type": _enum("a b c"), "major": "int64", "minor": "int64", "access": "text"}
    ],
    "pids": {"limit": "int64"},
    "memory": {
        "limit": "int64",
        "reservation": "int64",
        "swap": "int64",
        "kernel": "int64",
        "kernelTCP": "int64",
        "swappiness": "uint64",
        "disableOOMKiller": "flag",
        "useHierarchy": "flag",
        "checkBeforeUpdate": "flag",
    },
    "cpu": {
        "shares": "uint64",
        "quota": "int64",
        "burst": "uint64",
        "period": "uint64",
        "realtimeRuntime": "int64",
        "realtimePeriod": "uint64",
        "cpus": "text",
        "mems": "text",
        "idle": "int64",
    },
    "blockIO": {
        "weight": "uint16",
        "leafWeight": "uint16",
        "weightDevice": [{"major!": "int64", "minor!": "int64", "weight": "uint16", "leafWeight": "uint16"}],
        "throttleReadBpsDevice": _BLOCK_RATES,
        "throttleWriteBpsDevice": _BLOCK_RATES,
        "throttleReadIOPSDevice": _BLOCK_RATES,
        "throttleWriteIOPSDevice": _BLOCK_RATES,
    },
    "hugepageLimits": [{"pageSize!": "text", "limit!": "uint64"}],
    "network": {"classID": "uint32", "priorities": [{"name!": "text", "priority!": "uint32"}]},
    "rdma": Map({"hcaHandles": "uint32", "hcaObjects": "uint32"}),
}
SECCOMP_ACTIONS = _enum(
    "SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_TRAP SCMP_ACT_ERRNO SCMP_ACT_TRACE "
    "SCMP_ACT_ALLOW SCMP_ACT_LOG SCMP_ACT_NOTIFY"
)
SECCOMP_OPERATORS = _enum(
    "SCMP_CMP_NE SCMP_CMP_LT SCMP_CMP_LE SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_MASKED_EQ"
)
SECCOMP_FLAGS = _enum(
    "SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW "
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
)
_SECCOMP_ARCHES = _enum(
    "SCMP_ARCH_X86 SCMP_ARCH_X86_64 SCMP_ARCH_X32 SCMP_ARCH_ARM SCMP_ARCH_AARCH64 SCMP_ARCH_LOONGARCH64 "
    "SCMP_ARCH_M68K SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 SCMP_ARCH_MIPS64N32 SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 "
    "SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PPC SCMP_ARCH_PPC64 SCMP_ARCH_PPC64LE SCMP_ARCH_S390 SCMP_ARCH_S390X "
    "SCMP_ARCH_SH SCMP_ARCH_SHEB SCMP_ARCH_PARISC SCMP_ARCH_PARISC64 SCMP_ARCH_RISCV64"
)
_SECCOMP = {
    "defaultAction!": SECCOMP_ACTIONS,
    "defaultErrnoRet": "uint32",
    "flags": [SECCOMP_FLAGS],
    "listenerPath": "text",
    "listenerMetadata": "text",
    "architectures": [_SECCOMP_ARCHES],
    "syscalls": [
        {
            "names!": _TEXTS,
            "action!": SECCOMP_ACTIONS,
            "errnoRet": "uint32",
            "args": [
                {"index!": "uint32", "value!": "uint64", "valueTwo": "uint64", "op!": SECCOMP_OPERATORS}
            ],
        }
    ],
}
NAMESPACES = _enum("pid network mount ipc uts user cgroup time")
_LINUX = {
    "namespaces": [{"type!": NAMESPACES, "path": "text"}],
    "uidMappings": _ID_MAPPINGS,
    "gidMappings": _ID_MAPPINGS,
    "timeOffsets": Map({"secs": "int64", "nanosecs": "uint32"}),
    "devices": [
        {
            "type!": _enum("c b u p"),
            "path!": "text",
            "major": "int64",
            "minor": "int64",
            "fileMode": "uint32",
            "uid": "id",
            "gid": "id",
        }
    ],
    "netDevices": Map({"name": "text"}),
    "cgroupsPath": "text",
    "resources": RESOURCES,
    "rootfsPropagation": _enum("private shared slave unbindable"),
    "seccomp": _SECCOMP,
    "sysctl": Map("text"),
    "maskedPaths": _TEXTS,
    "readonlyPaths": _TEXTS,
    "mountLabel": "text",
    "personality": {"domain!": frozenset(DOMAINS), "flags": _TEXTS},
    "memoryPolicy": {"mode!": frozenset(MEMORY_MODES), "nodes": "text", "flags": [frozenset(MEMORY_FLAGS)]},
}
DOCUMENT = {
    "ociVersion!": "text",
    "root!": {"path!": "text", "readonly": "flag"},
    "process!": PROCESS,
    "hostname": "text",
    "domainname": "text",
    "mounts": [
        {
            "destination!": "text",
            "type": "text",
            "source": "text",
            "options": _TEXTS,
            "uidMappings": _ID_MAPPINGS,
            "gidMappings": _ID_MAPPINGS,
        }
    ],
    "hooks": dict.fromkeys(KINDS, _HOOKS),
    "annotations": Map("text"),
    "linux": _LINUX,
}
