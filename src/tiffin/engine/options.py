"""What callers hand to the container services and what they get back. Plain values."""

from tiffin.containers.record import ContainerRecord, Device, LogConfig, Resources, RestartPolicy
from tiffin.typed import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    from tiffin.engine.sizes import ContainerSize
    from tiffin.network.records import Join

Sink = int | Callable[[bytes], None]
"""Where output goes: a descriptor, or a function called with each piece; -1 drops it."""


class CreateOptions(NamedTuple):
    """What `create` and `run` take, as the options of Docker's command line word it.

    entrypoint  None is the image's; () or ("",) clears it, and the image's cmd with it
    env         "K=V", or "K" alone for the caller's own value (left out when unset)
    volumes     -v texts; mounts: --mount texts; tmpfs: --tmpfs texts; publish: -p texts; labels: "k=v"
    network     a network's name or ID, "host", "none" or "container:NAME"
    joins       networks by their names, with what is asked of each; when there are any, `network` is not read
    platform    "linux/arm64": of an image for several, the one for this; "" takes what the name stands for
    resources   bytes, nano-CPUs; see Resources
    ulimits     (name, soft, hard)
    stop_timeout  seconds; None is the default, 10
    pid, ipc, uts, userns, cgroupns   Docker's modes: "host", "private", "container:NAME", ...; "" is the default
    cgroup_parent  "/a/b" or "a/b", below each hierarchy's root; devices, device_rules: see ContainerRecord
    annotations   "k=v"; volumes_from: "container[:ro|rw]"; volume_driver: of new volumes
    healthcheck   as in the image config (Test, Interval in ns, ...): what it lacks is the image's; None: all of it
    """

    image: str
    command: tuple[str, ...] = ()
    name: str = ""
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    volumes: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    publish_all: bool = False
    expose: tuple[str, ...] = ()
    network: str = "bridge"
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    resources: Resources = Resources()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_opts: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    sysctls: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    shm_size: int = 64 * 1024 * 1024
    oom_score_adj: int = 0
    read_only: bool = False
    init: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    labels: tuple[str, ...] = ()
    auto_remove: bool = False
    log: LogConfig = LogConfig()
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    cgroupns: str = ""
    cgroup_parent: str = ""
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    volume_driver: str = ""
    platform: str = ""
    joins: "tuple[Join, ...]" = ()
    restart: RestartPolicy = RestartPolicy()
    healthcheck: dict[str, Any] | None = None
    runtime: str = ""


class Created(NamedTuple):
    """A new container; `warnings` are lines for the user."""

    id: str
    name: str
    warnings: tuple[str, ...] = ()


class Streams(NamedTuple):
    """The caller's side of an attached container or exec.

    stdin    a descriptor to read from, bytes to send, or None for nothing at all
    stdout   and stderr: see Sink; one that is -1 is not even asked for. With a tty everything comes on stdout
    detach_keys  Docker's notation, "ctrl-p,ctrl-q"; "" switches detaching off. Only looked for with a tty
    sig_proxy    signals that reach this process go to the container's first process (never to an exec): see
                 tiffin.engine.caller
    """

    stdin: int | bytes | None = None
    stdout: Sink = -1
    stderr: Sink = -1
    detach_keys: str = "ctrl-p,ctrl-q"
    sig_proxy: bool = True


class ExecOptions(NamedTuple):
    """What `exec` takes. `env` as in CreateOptions; user "" and workdir "" are the container's."""

    command: tuple[str, ...]
    tty: bool = False
    open_stdin: bool = False
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    privileged: bool = False


class Completed(NamedTuple):
    """A container that ran to its end. With a tty, all output is in `stdout`."""

    id: str
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def output(self) -> str:
        """stdout as text; bytes that are not UTF-8 come as U+FFFD."""
        return self.stdout.decode("utf-8", "replace")


class Summary(NamedTuple):
    """One line of `ps`. Times in ns since the epoch; `ports` as Docker prints them; state as Docker names it; `size`
    only when it was asked for."""

    id: str
    name: str
    image: str
    image_id: str
    command: tuple[str, ...]
    created: int
    state: str
    status: str
    ports: str
    labels: dict[str, str]
    mounts: tuple[str, ...]
    network: str
    record: ContainerRecord
    size: "ContainerSize | None" = None


class LogQuery(NamedTuple):
    """What `logs` takes. tail -1 is everything; since/until in ns since the epoch, 0 for no bound."""

    follow: bool = False
    tail: int = -1
    since: int = 0
    until: int = 0
    stdout: bool = True
    stderr: bool = True


class LogLine(NamedTuple):
    """A line with its newline, or a 16 KiB piece of a long one. `time` is RFC 3339 with nanoseconds, as stored."""

    stream: str
    time: str
    data: bytes


class PortBinding(NamedTuple):
    """One line of `port`."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class PathStat(NamedTuple):
    """Something in a container. `mode` as stat(2) has it, time in ns since the epoch; `link_target` is where a link
    leads in the end, "" for what is none."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""


class CommitOptions(NamedTuple):
    """What `commit` takes: a repository[:tag] or "" for an image without a name; `changes` are instructions of a
    Dockerfile that change settings, such as 'CMD ["sh"]'."""

    repository: str = ""
    author: str = ""
    message: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()
