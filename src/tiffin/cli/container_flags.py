"""The options that describe a container, by theme. What their values become is in `container_options`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser

# Options whose values `container_values` reads: it is loaded only when one of them is given.
RARE = (
    "annotation",
    "bandwidth",
    "blkio_weight_device",
    "cgroup_parent",
    "cgroupns",
    "device",
    "device_cgroup_rule",
    "device_read_bps",
    "device_read_iops",
    "device_write_bps",
    "device_write_iops",
    "gpus",
    "ipc",
    "label_file",
    "pid",
    "runtime",
    "security_opt",
    "storage_opt",
    "ulimit",
    "userns",
    "uts",
    "volume_driver",
    "volumes_from",
)


def many(parser: "CommandParser", *names: str, metavar: str, help: str) -> None:  # noqa: A002 - as add_argument has it
    """An option that may be given more than once."""
    parser.add_argument(*names, action="append", default=[], metavar=metavar, help=help)


def add_process_flags(parser: "CommandParser") -> None:
    add = parser.add_argument
    many(parser, "-e", "--env", metavar="NAME[=VALUE]", help="set an environment variable")
    many(parser, "--env-file", metavar="FILE", help="read environment variables from a file")
    add("-w", "--workdir", metavar="DIR", help="working directory inside the container")
    add("-u", "--user", metavar="USER[:GROUP]", help="user, by name or number")
    many(parser, "--group-add", metavar="GROUP", help="additional group")
    add("--entrypoint", default=None, metavar="PATH", help='replace the image\'s entrypoint ("" clears it)')
    add("-h", "--hostname", metavar="NAME", help="host name (default: the short ID)")
    add("--domainname", metavar="NAME", help="NIS domain name")
    parser.switch("--init", help="run an init as PID 1 that forwards signals and reaps processes")
    add(
        "--runtime",
        metavar="NAME|PATH",
        help="OCI runtime that makes it: runc, crun, a path (default: tiffin's own)",
    )
    many(parser, "-l", "--label", metavar="NAME=VALUE", help="label")
    many(parser, "--label-file", metavar="FILE", help="read labels from a file, one a line")
    many(parser, "--annotation", metavar="NAME=VALUE", help="annotation for the OCI runtime")
    add("--stop-signal", metavar="SIGNAL", help="signal that stop sends (default SIGTERM)")
    add(
        "--stop-timeout",
        type=int,
        default=None,
        metavar="SECONDS",
        help="how long stop waits before it kills",
    )
    add("--log-driver", metavar="NAME", help="json-file (default), local, syslog, journald or none")
    many(parser, "--log-opt", metavar="NAME=VALUE", help="option of the log driver: max-size=10m")
    add("--cidfile", metavar="FILE", help="write the container's ID to a new file")


def add_changeable_limits(parser: "CommandParser") -> None:
    """The limits that `update` changes, too."""
    add = parser.add_argument
    add("--cpus", metavar="N", help="number of CPUs, such as 1.5")
    add("-c", "--cpu-shares", type=int, default=0, metavar="N", help="relative weight of CPU time")
    add("--cpu-period", type=int, default=0, metavar="US", help="length of a CPU period, microseconds")
    add("--cpu-quota", type=int, default=0, metavar="US", help="CPU time within a period, microseconds")
    add(
        "--cpu-rt-period",
        type=int,
        default=0,
        metavar="US",
        help="length of a realtime period, microseconds",
    )
    add(
        "--cpu-rt-runtime",
        type=int,
        default=0,
        metavar="US",
        help="realtime CPU time within a realtime period, microseconds",
    )
    add("--cpuset-cpus", metavar="LIST", help="CPUs it may use (0-3, 0,1)")
    add("--cpuset-mems", metavar="LIST", help="memory nodes it may use (0-3, 0,1)")
    add("-m", "--memory", metavar="SIZE", help="memory limit, such as 512m")
    add("--memory-swap", metavar="SIZE", help="memory plus swap; -1 for no limit on swap")
    add("--memory-reservation", metavar="SIZE", help="soft memory limit")
    add(
        "--pids-limit",
        type=int,
        default=0,
        metavar="N",
        help="most processes (default 2048; -1 for no limit)",
    )
    add("--blkio-weight", type=int, default=0, metavar="N", help="share of block I/O, 10 to 1000")
    add(
        "--bandwidth",
        metavar="IN[:OUT]",
        help="network bandwidth to and from the container, such as 10mbit:5mbit",
    )


def add_limits(parser: "CommandParser") -> None:
    """Every limit."""
    add = parser.add_argument
    add_changeable_limits(parser)
    add(
        "--memory-swappiness",
        type=int,
        default=-1,
        metavar="N",
        help="how readily its memory is swapped out, 0 to 100 (cgroup v1)",
    )
    parser.switch("--oom-kill-disable", help="let it wait for memory instead of killing it (cgroup v1)")
    add("--oom-score-adj", type=int, default=0, metavar="N", help="preference of the out-of-memory killer")
    many(
        parser,
        "--blkio-weight-device",
        metavar="DEVICE:N",
        help="share of one device's block I/O, 10 to 1000",
    )
    many(parser, "--device-read-bps", metavar="DEVICE:RATE", help="most bytes read a second, such as 10mb")
    many(parser, "--device-write-bps", metavar="DEVICE:RATE", help="most bytes written a second")
    many(parser, "--device-read-iops", metavar="DEVICE:N", help="most reads a second")
    many(parser, "--device-write-iops", metavar="DEVICE:N", help="most writes a second")
    many(parser, "--ulimit", metavar="NAME=SOFT[:HARD]", help="resource limit, such as nofile=1024")
    add("--shm-size", metavar="SIZE", help="size of /dev/shm (default 64m)")
    add("--cgroup-parent", metavar="PATH", help="cgroup to put the container's below")


def add_isolation_flags(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("--privileged", help="every capability and device, no filters: the walls are off")
    many(parser, "--cap-add", metavar="NAME", help="add a capability (ALL for every one)")
    many(parser, "--cap-drop", metavar="NAME", help="drop a capability (ALL for every one)")
    many(
        parser,
        "--security-opt",
        metavar="OPTION",
        help="no-new-privileges, seccomp=FILE|unconfined|builtin, apparmor=PROFILE, systempaths=unconfined, "
        "writable-cgroups=true",
    )
    many(parser, "--sysctl", metavar="NAME=VALUE", help="kernel setting of its namespaces")
    many(parser, "--device", metavar="HOST[:PATH][:rwm]", help="give it a device of the host")
    many(parser, "--device-cgroup-rule", metavar="RULE", help="allow devices by number, such as 'c 1:3 rwm'")
    add("--gpus", metavar="GPUS", help="not there yet: says what to do instead")
    add("--pid", metavar="MODE", help="process namespace: host or container:NAME")
    add(
        "--ipc",
        metavar="MODE",
        help="IPC namespace: private (default), shareable, host, container:NAME, none",
    )
    add("--uts", metavar="MODE", help="host name namespace: host")
    add("--userns", metavar="MODE", help="user namespace: host")
    add("--cgroupns", metavar="MODE", help="cgroup namespace: private (default) or host")
    parser.switch("--read-only", help="mount the root filesystem read-only")


def add_network_flags(parser: "CommandParser") -> None:
    add = parser.add_argument
    many(
        parser, "--network", "--net", metavar="NETWORK", help="network (bridge), host, none or container:NAME"
    )
    add("--ip", metavar="ADDRESS", help="its address in the network")
    add("--ip6", metavar="ADDRESS", help="its IPv6 address in the network")
    many(parser, "--network-alias", "--net-alias", metavar="NAME", help="a further name in the network")
    add("--mac-address", metavar="MAC", help="its MAC address in the network")
    many(parser, "-p", "--publish", metavar="[[IP:]HOST:]PORT", help="publish a port on the host")
    parser.switch("-P", "--publish-all", help="publish every exposed port on a free port of the host")
    many(parser, "--expose", metavar="PORT", help="expose a port")
    many(parser, "--add-host", metavar="NAME:IP", help="line for /etc/hosts")
    many(parser, "--link", metavar="NAME[:ALIAS]", help="another container under a name of one's own choice")
    many(parser, "--dns", metavar="IP", help="name server")
    many(parser, "--dns-search", metavar="DOMAIN", help="DNS search domain")
    many(parser, "--dns-option", "--dns-opt", metavar="OPTION", help="resolver option")


def add_mount_flags(parser: "CommandParser") -> None:
    add = parser.add_argument
    many(parser, "-v", "--volume", metavar="[SOURCE:]PATH[:OPTIONS]", help="mount a volume or path")
    many(parser, "--mount", metavar="OPTIONS", help="mount, as type=bind,source=/x,target=/y")
    many(parser, "--tmpfs", metavar="PATH[:OPTIONS]", help="mount a tmpfs")
    many(parser, "--volumes-from", metavar="CONTAINER[:ro]", help="mount what another container mounts")
    add("--volume-driver", metavar="NAME", help="driver of volumes that are made: local, or a plugin's name")
    many(parser, "--storage-opt", metavar="NAME=VALUE", help="refused: the root filesystem has no size limit")
