"""The options that `run` and `create` share, and the plain value that they become."""

import os
import re

from tiffin.cli.parser import REST
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.containers.record import LogConfig, Resources
    from tiffin.engine.options import CreateOptions

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgtp]?)(?:i?b)?", re.IGNORECASE)
_FILE_LIMIT = 1 << 20


def size(text: str, option: str) -> int:
    """Bytes of "512m", "1.5g", "100" (binary units, as Docker reads them). Raises InvalidArgument."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidArgument(f'invalid argument "{text}" for "{option}": want a size such as 512m or 2g')
    return int(float(found[1]) * 1024 ** "bkmgtp".index((found[2] or "b").lower()))


def add_container_options(parser: "CommandParser") -> None:
    """Everything about a new container that is not about attaching to it."""
    add = parser.add_argument
    add("--name", default="", metavar="NAME", help="name of the container (default: a random one)")
    add(
        "--pull",
        choices=("always", "missing", "never"),
        default="missing",
        help="when to fetch the image from its registry (default missing)",
    )
    add("--platform", default="", metavar="OS/ARCH", help="platform of an image that is for several")
    parser.switch("-t", "--tty", help="give it a terminal")
    parser.switch("-i", "--interactive", help="keep its standard input open")
    parser.switch("--rm", help="remove it, and its anonymous volumes, when it ends")
    _add_process(parser)
    _add_resources(parser)
    _add_security(parser)
    _add_network_and_mounts(parser)
    add("image", metavar="IMAGE", help="image to run")
    add(
        "command",
        metavar="COMMAND",
        nargs=REST,
        help="command and arguments (default: the image's)",
    )


def _add_process(parser: "CommandParser") -> None:
    add = parser.add_argument
    add(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set an environment variable"
    )
    add(
        "--env-file",
        action="append",
        default=[],
        metavar="FILE",
        help="read environment variables from a file",
    )
    add("-w", "--workdir", default="", metavar="DIR", help="working directory inside the container")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user, by name or number")
    add("--group-add", action="append", default=[], metavar="GROUP", help="additional group")
    add("--entrypoint", default=None, metavar="PATH", help='replace the image\'s entrypoint ("" clears it)')
    add("-h", "--hostname", default="", metavar="NAME", help="host name (default: the short ID)")
    add("--domainname", default="", metavar="NAME", help="NIS domain name")
    parser.switch("--init", help="run an init as PID 1 that forwards signals and reaps processes")
    add("-l", "--label", action="append", default=[], metavar="NAME=VALUE", help="label")
    add("--stop-signal", default="", metavar="SIGNAL", help="signal that stop sends (default SIGTERM)")
    add(
        "--stop-timeout",
        type=int,
        default=None,
        metavar="SECONDS",
        help="how long stop waits before it kills",
    )
    add(
        "--log-driver",
        default="",
        metavar="NAME",
        help="json-file (default), local, syslog, journald or none",
    )
    add(
        "--log-opt",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the log driver: max-size=10m",
    )
    add("--cidfile", default="", metavar="FILE", help="write the container's ID to a new file")


def _add_resources(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("--cpus", default="", metavar="N", help="number of CPUs, such as 1.5")
    add("-c", "--cpu-shares", type=int, default=0, metavar="N", help="relative weight of CPU time")
    add("--cpu-period", type=int, default=0, metavar="US", help="length of a CPU period, microseconds")
    add("--cpu-quota", type=int, default=0, metavar="US", help="CPU time within a period, microseconds")
    add("--cpuset-cpus", default="", metavar="LIST", help="CPUs it may use (0-3, 0,1)")
    add("-m", "--memory", default="", metavar="SIZE", help="memory limit, such as 512m")
    add("--memory-swap", default="", metavar="SIZE", help="memory plus swap; -1 for no limit on swap")
    add("--memory-reservation", default="", metavar="SIZE", help="soft memory limit")
    add(
        "--pids-limit",
        type=int,
        default=0,
        metavar="N",
        help="most processes (default 2048; -1 for no limit)",
    )
    add(
        "--ulimit",
        action="append",
        default=[],
        metavar="NAME=SOFT[:HARD]",
        help="resource limit, such as nofile=1024",
    )
    add("--shm-size", default="", metavar="SIZE", help="size of /dev/shm (default 64m)")
    add("--oom-score-adj", type=int, default=0, metavar="N", help="preference of the out-of-memory killer")


def _add_security(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("--privileged", help="every capability and device, no filters: the walls are off")
    add("--cap-add", action="append", default=[], metavar="NAME", help="add a capability (ALL for every one)")
    add(
        "--cap-drop",
        action="append",
        default=[],
        metavar="NAME",
        help="drop a capability (ALL for every one)",
    )
    add(
        "--security-opt",
        action="append",
        default=[],
        metavar="OPTION",
        help="no-new-privileges, seccomp=FILE or seccomp=unconfined",
    )
    add(
        "--sysctl", action="append", default=[], metavar="NAME=VALUE", help="kernel setting of its namespaces"
    )
    parser.switch("--read-only", help="mount the root filesystem read-only")


def _add_network_and_mounts(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("--network", "--net", default="bridge", metavar="MODE", help="bridge, host or none")
    add(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="[[IP:]HOST:]PORT",
        help="publish a port on the host",
    )
    parser.switch("-P", "--publish-all", help="publish every exposed port on a free port of the host")
    add("--expose", action="append", default=[], metavar="PORT", help="expose a port")
    add("--add-host", action="append", default=[], metavar="NAME:IP", help="line for /etc/hosts")
    add("--dns", action="append", default=[], metavar="IP", help="name server")
    add("--dns-search", action="append", default=[], metavar="DOMAIN", help="DNS search domain")
    add("--dns-option", action="append", default=[], metavar="OPTION", help="resolver option")
    add(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="[SOURCE:]PATH[:OPTIONS]",
        help="mount a volume or path",
    )
    add(
        "--mount",
        action="append",
        default=[],
        metavar="OPTIONS",
        help="mount, as type=bind,source=/x,target=/y",
    )
    add("--tmpfs", action="append", default=[], metavar="PATH[:OPTIONS]", help="mount a tmpfs")


def create_options(args: "Namespace", *, detached: bool, attach_stdin: bool) -> "CreateOptions":
    """The parsed words as the engine takes them. Raises InvalidArgument for values that are not what they must be."""
    from tiffin.engine.options import CreateOptions

    return CreateOptions(
        image=args.image,
        command=tuple(args.command),
        name=args.name,
        entrypoint=None if args.entrypoint is None else (args.entrypoint,) if args.entrypoint else (),
        env=(*env_files(args.env_file), *args.env),
        user=args.user,
        workdir=args.workdir,
        hostname=args.hostname,
        domainname=args.domainname,
        tty=args.tty,
        open_stdin=args.interactive,
        stdin_once=args.interactive and not detached,
        attach_stdin=attach_stdin,
        attach_stdout=not detached,
        attach_stderr=not detached,
        volumes=tuple(args.volume),
        mounts=tuple(args.mount),
        tmpfs=tuple(args.tmpfs),
        publish=tuple(args.publish),
        publish_all=args.publish_all,
        expose=tuple(args.expose),
        network=args.network,
        extra_hosts=tuple(args.add_host),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=tuple(args.dns_option),
        resources=_resources(args),
        cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop),
        privileged=args.privileged,
        security_opts=tuple(args.security_opt),
        group_add=tuple(args.group_add),
        sysctls=tuple(args.sysctl),
        ulimits=tuple(_ulimit(text) for text in args.ulimit),
        shm_size=size(args.shm_size, "--shm-size") if args.shm_size else 64 * 1024 * 1024,
        oom_score_adj=args.oom_score_adj,
        read_only=args.read_only,
        init=args.init,
        stop_signal=args.stop_signal,
        stop_timeout=args.stop_timeout,
        labels=tuple(args.label),
        auto_remove=args.rm,
        log=_log(args),
        platform=args.platform,
    )


def _log(args: "Namespace") -> "LogConfig":
    from tiffin.containers.record import LogConfig

    if not args.log_driver and not args.log_opt:
        return LogConfig()
    options = {}
    for text in args.log_opt:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidArgument(
                f'invalid argument "{text}" for "--log-opt": want NAME=VALUE, such as max-size=10m'
            )
        options[name] = value
    return LogConfig(args.log_driver or "json-file", options=options)


def _resources(args: "Namespace") -> "Resources":
    from tiffin.containers.record import Resources

    swap = args.memory_swap
    return Resources(
        nano_cpus=_nano_cpus(args.cpus),
        cpu_shares=args.cpu_shares,
        cpu_quota=args.cpu_quota,
        cpu_period=args.cpu_period,
        cpuset_cpus=args.cpuset_cpus,
        memory=size(args.memory, "--memory") if args.memory else 0,
        memory_swap=-1 if swap == "-1" else size(swap, "--memory-swap") if swap else 0,
        memory_reservation=size(args.memory_reservation, "--memory-reservation")
        if args.memory_reservation
        else 0,
        pids_limit=args.pids_limit,
    )


def _nano_cpus(text: str) -> int:
    if not text:
        return 0
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text) is None:
        raise InvalidArgument(f'invalid argument "{text}" for "--cpus": want a number such as 0.5 or 2')
    return round(float(text) * 1_000_000_000)


def _ulimit(text: str) -> tuple[str, int, int]:
    name, equals, value = text.partition("=")
    soft, _, hard = value.partition(":")
    try:
        numbers = int(soft), int(hard or soft)
    except ValueError:
        numbers = None
    if not equals or numbers is None:
        raise InvalidArgument(
            f'invalid argument "{text}" for "--ulimit": want NAME=SOFT[:HARD], such as nofile=1024'
        )
    if numbers[1] != -1 and (numbers[0] > numbers[1] or numbers[0] == -1):
        raise InvalidArgument(
            f'invalid argument "{text}" for "--ulimit": the soft limit is above the hard one'
        )
    return name, *numbers


def env_files(files: list[str]) -> list[str]:
    """Lines NAME=VALUE or NAME; blank lines and lines beginning with # are left out, as Docker reads them."""
    found: list[str] = []
    for name in files:
        if os.path.getsize(name) > _FILE_LIMIT:
            raise InvalidArgument(f"{name}: an environment file may have at most 1 MiB")
        with open(name, encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                text = line.rstrip("\r\n").lstrip()
                if not text or text.startswith("#"):
                    continue
                key = text.partition("=")[0]
                if not key or any(c.isspace() for c in key):
                    raise InvalidArgument(
                        f"{name}:{number}: variable name '{key}' is empty or contains whitespace"
                    )
                found.append(text)
    return found
