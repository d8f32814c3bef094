"""The OCI runtime specification document (config.json) of a container, made from plain options.

What is made here validates against the specification's schema, with three additions that `runtime.create`
reads:

- `process.user.username` ("user:group") is looked up in the container's own files when it starts, together
  with `process.user.groups`, names or numbers;
- a bind's `fd` is a detached mount, made by whoever made the document, that is used in place of its source;
- `linux.seccomp` may be `{"profile": path}`, "" meaning the shipped default, instead of the resolved list.
"""

from tiffin.oci.mount import Mount
from tiffin.runtime import defaults
from tiffin.typed import Any, Mapping, NamedTuple, Sequence

_PRIVATE = ("pid", "ipc", "uts", "network", "cgroup", "mount")


class ContainerOptions(NamedTuple):
    """All that makes the document. Sizes in bytes, times in microseconds; 0 or "" leave the default.

    user         "user", "user:group", names or digits, as images and `-u` give it
    capabilities granted names, from `defaults.choose_capabilities`
    host         namespaces shared with the host: "pid", "ipc", "uts", "network", "cgroup"
    join         namespace kind → path of one to join, such as "/proc/7/ns/ipc"
    mounts       in order, after the default ones; options as in the specification; target "/dev/shm", "/sys",
                 "/dev/mqueue" or "/sys/fs/cgroup" takes a default one's place
    seccomp      "" the default profile, "unconfined", or a file's path
    memory_swap  memory and swap together, -1 unlimited
    pids_limit   -1 unlimited
    rlimits      ("nofile", soft, hard)
    devices      (path, "c"|"b", major, minor, mode, uid, gid, access)
    device_rules further rules of `linux.resources.devices`
    block        `linux.resources.blockIO`
    memory_swappiness  0 to 100, -1 for the machine's
    shm          False: no /dev/shm
    open_paths   hide nothing of /proc and /sys
    writable_cgroups  mount the container's cgroups for writing
    """

    argv: Sequence[str]
    env: Sequence[str] = ()
    cwd: str = "/"
    user: str = ""
    groups: Sequence[str] = ()
    terminal: bool = False
    hostname: str = ""
    domainname: str = ""
    capabilities: Sequence[str] = defaults.DEFAULT_CAPABILITIES
    privileged: bool = False
    no_new_privileges: bool = False
    readonly: bool = False
    host: frozenset[str] = frozenset()
    join: Mapping[str, str] = {}
    mounts: Sequence[Mount] = ()
    shm_size: int = defaults.SHM_SIZE
    seccomp: str = ""
    sysctls: Mapping[str, str] = {}
    rlimits: Sequence[tuple[str, int, int]] = ()
    devices: Sequence[tuple[str, str, int, int, int, int, int, str]] = ()
    oom_score_adj: int = 0
    init: bool = False
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = defaults.PIDS_LIMIT
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    block: Mapping[str, Any] = {}
    device_rules: Sequence[dict[str, Any]] = ()
    annotations: Mapping[str, str] = {}
    shm: bool = True
    open_paths: bool = False
    writable_cgroups: bool = False
    apparmor: str = ""


def default_spec(options: ContainerOptions) -> dict[str, Any]:
    """The document. Pure but for what `masked_paths` asks of this machine; raises nothing."""
    kinds = [kind for kind in _PRIVATE if kind not in options.host]
    open_paths = options.privileged or options.open_paths
    namespaces = [
        {"type": kind, "path": options.join[kind]} if kind in options.join else {"type": kind}
        for kind in kinds
    ]
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "resources": resources(options),
        "devices": [_device(device) for device in options.devices],
        "sysctl": _sysctls(options, kinds),
        "maskedPaths": [] if open_paths else defaults.masked_paths(),
        "readonlyPaths": [] if open_paths else list(defaults.READONLY_PATHS),
    }
    if options.seccomp != "unconfined" and not options.privileged:
        linux["seccomp"] = {"profile": options.seccomp}
    spec: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": process(options),
        "root": {"path": "rootfs", "readonly": options.readonly},
        "mounts": _mounts(options),
        "linux": linux,
    }
    if options.hostname:
        spec["hostname"] = options.hostname
    if options.domainname:
        spec["domainname"] = options.domainname
    if options.annotations:
        spec["annotations"] = dict(options.annotations)
    return spec


def process(options: ContainerOptions) -> dict[str, Any]:
    """The `process` object alone, as `exec` needs it too."""
    granted = list(options.capabilities)
    made: dict[str, Any] = {
        "terminal": options.terminal,
        "user": {"username": options.user, "groups": list(options.groups)},
        "args": list(options.argv),
        "env": list(options.env),
        "cwd": options.cwd,
        # Inheritable and ambient stay empty: a program without file capabilities run by an ordinary user
        # gets none.
        "capabilities": {
            "bounding": granted,
            "effective": granted,
            "permitted": granted,
            "inheritable": [],
            "ambient": [],
        },
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
            for name, soft, hard in options.rlimits
        ],
        "noNewPrivileges": options.no_new_privileges,
    }
    if options.oom_score_adj:
        made["oomScoreAdj"] = options.oom_score_adj
    if options.init:
        made["init"] = True
    if options.apparmor:
        made["apparmorProfile"] = options.apparmor
    return made


def _mounts(options: ContainerOptions) -> list[dict[str, Any]]:
    readonly = [] if options.privileged else ["ro"]
    own_cgroups = [] if options.writable_cgroups else readonly
    shm = f"size={options.shm_size}"
    standard = [
        ("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", *readonly]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", *own_cgroups]),
        ("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
        ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", shm]),  # noqa: S108 - in there
    ]
    taken = {mount.target.rstrip("/") for mount in options.mounts} - {"/proc", "/dev", "/dev/pts"}
    if not options.shm:
        taken.add("/dev/shm")  # noqa: S108 - in there
    made: list[dict[str, Any]] = [
        {"destination": target, "type": kind, "source": source, "options": words}
        for target, kind, source, words in standard
        if target not in taken
    ]
    made += [
        {
            "destination": mount.target,
            "type": mount.type,
            "source": mount.source,
            "options": list(mount.options),
            **({"fd": mount.fd} if mount.fd >= 0 else {}),
        }
        for mount in options.mounts
    ]
    return made


def resources(options: ContainerOptions) -> dict[str, Any]:
    """`linux.resources`: the device rules, and each limit that is set."""
    rules: list[dict[str, Any]] = (
        [{"allow": True, "access": "rwm"}] if options.privileged else defaults.device_rules()
    )
    rules += [
        {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
        for _, kind, major, minor, _, _, _, access in options.devices
    ]
    rules.extend(options.device_rules)
    made: dict[str, Any] = {"devices": rules, "pids": {"limit": options.pids_limit}}
    memory = {
        "limit": options.memory,
        "swap": options.memory_swap,
        "reservation": options.memory_reservation,
        "disableOOMKiller": options.oom_kill_disable,
    }
    cpu = {
        "shares": options.cpu_shares,
        "quota": options.cpu_quota,
        "period": options.cpu_period,
        "cpus": options.cpuset_cpus,
        "mems": options.cpuset_mems,
        "realtimePeriod": options.cpu_rt_period,
        "realtimeRuntime": options.cpu_rt_runtime,
    }
    for name, values in (("memory", memory), ("cpu", cpu)):
        given = {key: value for key, value in values.items() if value}
        if given:
            made[name] = given
    if options.memory_swappiness >= 0:
        made.setdefault("memory", {})["swappiness"] = options.memory_swappiness
    if options.block:
        made["blockIO"] = dict(options.block)
    return made


def _sysctls(options: ContainerOptions, kinds: list[str]) -> dict[str, str]:
    standard = defaults.SYSCTLS if "network" in kinds and "network" not in options.join else {}
    return {**standard, **options.sysctls}


def _device(device: tuple[str, str, int, int, int, int, int, str]) -> dict[str, Any]:
    path, kind, major, minor, mode, uid, gid, _ = device
    return {
        "path": path,
        "type": kind,
        "major": major,
        "minor": minor,
        "fileMode": mode,
        "uid": uid,
        "gid": gid,
    }
