"""What `create` fixes about a container, as one immutable value that round-trips through JSON.

Nothing here is looked up again at `start`: the image's layers, command and environment are merged in once, so
that moving or untagging the image changes no container.
"""

import os

from tiffin import jsontext as json
from tiffin.containers.ports import PortSpec
from tiffin.typed import Any, NamedTuple

DEFAULT_LOG_SIZE = 50 * 1024 * 1024
DEFAULT_LOG_FILES = 3


class Resources(NamedTuple):
    """Limits. 0 means none, except `pids_limit` where 0 means the default and -1 means none, and
    `memory_swappiness` where -1 leaves it to the machine. Sizes in bytes, times in microseconds.

    blkio_*, device_*  (path of a block device of the host, weight or rate a second), in the order given
    bandwidth_in, bandwidth_out  bits a second, to and from the container
    """

    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    pids_limit: int = 0
    cpuset_mems: str = ""
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    blkio_weight: int = 0
    blkio_weight_device: tuple[tuple[str, int], ...] = ()
    device_read_bps: tuple[tuple[str, int], ...] = ()
    device_write_bps: tuple[tuple[str, int], ...] = ()
    device_read_iops: tuple[tuple[str, int], ...] = ()
    device_write_iops: tuple[tuple[str, int], ...] = ()
    bandwidth_in: int = 0
    bandwidth_out: int = 0

    @classmethod
    def from_document(cls, document: dict[str, Any], base: "Resources | None" = None) -> "Resources":
        """Of `_asdict` through JSON: what it names, the rest as in `base`. Names of a newer version are left out."""
        known: dict[str, Any] = {
            key: tuple((str(path), int(number)) for path, number in value) if key in _OF_DEVICES else value
            for key, value in document.items()
            if key in cls._fields
        }
        return (base or cls())._replace(**known)


_OF_DEVICES = (
    "blkio_weight_device",
    "device_read_bps",
    "device_write_bps",
    "device_read_iops",
    "device_write_iops",
)


class Device(NamedTuple):
    """A device of the host, or a directory of such, and where the container has it; `access` of "rwm"."""

    host: str
    container: str
    access: str = "rwm"


class LogConfig(NamedTuple):
    """The log. Files rotate at `max_size` bytes (0 never), `max_file` of them are kept; driver "none" keeps nothing.

    options      as the user gave them (--log-opt); `create` settles the fields below out of them
    tag          what messages are marked with where a driver sends them on; "" is the short ID
    attributes   the labels and variables that go with every line
    buffer_size  bytes that mode=non-blocking holds; 0 is the default
    """

    driver: str = "json-file"
    max_size: int = DEFAULT_LOG_SIZE
    max_file: int = DEFAULT_LOG_FILES
    options: dict[str, str] = {}
    tag: str = ""
    attributes: dict[str, str] = {}
    buffer_size: int = 0


class RestartPolicy(NamedTuple):
    """Whether a container that ended is to run again, see policy.py; not of the record, as it may change.
    `retries` is on-failure's: 0 for no limit."""

    name: str = "no"
    retries: int = 0


class ContainerRecord(NamedTuple):
    """Everything about a container that does not change. Times in ns since the epoch.

    argv      entrypoint and cmd together, as executed
    layers    the image's DiffIDs, base first
    mounts    plain documents, see engine/mounts.py: type, source, destination, options, volume name
    exposed   Docker's keys, "80/tcp"
    image_name what the caller wrote; `image` is the image's ID
    sysctls, labels, annotations   never mutated: a default is shared by every record that has none
    pid_mode, ipc_mode, uts_mode, userns_mode, cgroupns_mode   as Docker words them; "" is the default, private
    cgroup_parent  a path below each hierarchy's root, "" for the engine's own
    device_rules   device cgroup rules as the kernel words them: "c 1:3 rwm"
    volumes_from   "container[:ro]", as given: their mounts are among `mounts`
    volume_driver  of volumes that the container's own options make, "" for the local one
    healthcheck as in the image config: Test, and Interval, Timeout, ... in ns; shell: what CMD-SHELL runs
    sysctls, labels   never mutated: a default is shared by every record that has none
    runtime   the OCI runtime that makes it, a name or path; "" is the engine's own
    """

    id: str
    name: str
    image: str
    image_name: str
    created: int
    argv: tuple[str, ...]
    layers: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str = ""
    cwd: str = "/"
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    mounts: tuple[dict[str, Any], ...] = ()
    ports: tuple[PortSpec, ...] = ()
    exposed: tuple[str, ...] = ()
    network: str = "bridge"
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    resources: Resources = Resources()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_opts: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    ulimits: tuple[tuple[str, int, int], ...] = ()
    shm_size: int = 64 * 1024 * 1024
    oom_score_adj: int = 0
    read_only: bool = False
    init: bool = False
    stop_signal: str = "SIGTERM"
    stop_timeout: int = 10
    labels: dict[str, str] = {}
    auto_remove: bool = False
    log: LogConfig = LogConfig()
    healthcheck: dict[str, Any] | None = None
    volumes: tuple[str, ...] = ()
    onbuild: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    volumes_from: tuple[str, ...] = ()
    volume_driver: str = ""
    runtime: str = ""

    def cgroup(self, default_parent: str) -> str:
        """The path of its cgroup, below each hierarchy's root."""
        return f"{self.cgroup_parent.strip('/') or default_parent}/{self.id}"

    def to_json(self) -> str:
        """One compact document; `from_json` gives an equal record back."""
        document = self._asdict()
        document["resources"] = self.resources._asdict()
        document["log"] = self.log._asdict()
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ContainerRecord":
        """Read what `to_json` wrote, of this version or an older one: what is missing gets its default."""
        document = {key: value for key, value in json.loads(text).items() if key in cls._fields}
        for key in _TUPLES:
            if document.get(key) is not None:
                document[key] = tuple(document[key])
        document["resources"] = Resources.from_document(document.get("resources", {}))
        document["log"] = LogConfig(**_known(LogConfig._fields, document.get("log", {})))
        document["ports"] = tuple(PortSpec(*port) for port in document.get("ports", ()))
        document["devices"] = tuple(Device(*device) for device in document.get("devices", ()))
        document["ulimits"] = tuple((name, soft, hard) for name, soft, hard in document.get("ulimits", ()))
        return cls(**document)


_TUPLES = tuple(
    field for field, kind in ContainerRecord.__annotations__.items() if str(kind).startswith("tuple[")
)


def _known(fields: tuple[str, ...], document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key in fields}


def new_id() -> str:
    """64 hex digits from the kernel's random source."""
    return os.urandom(32).hex()
