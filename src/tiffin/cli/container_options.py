"""The options that `run` and `create` share, and the plain value that they become."""

import os

from tiffin.cli import container_flags as flags
from tiffin.cli.keeping_options import add_keeping_options, keeping_options
from tiffin.cli.parser import REST
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.containers.record import LogConfig, Resources
    from tiffin.engine.options import CreateOptions

_SIZE = r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgtp]?)(?:i?b)?"
_FILE_LIMIT = 1 << 20


def size(text: str, option: str) -> int:
    """Bytes of "512m", "1.5g", "100" (binary units, as Docker reads them). Raises InvalidArgument."""
    import re  # 5 ms, for those who give a size

    found = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
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
    parser.switch("-q", "--quiet", help="fetch the image without a word")
    add("--platform", default="", metavar="OS/ARCH", help="platform of an image that is for several")
    parser.switch("-t", "--tty", help="give it a terminal")
    parser.switch("-i", "--interactive", help="keep its standard input open")
    parser.switch("--rm", help="remove it, and its anonymous volumes, when it ends")
    flags.add_process_flags(parser)
    add_keeping_options(parser)
    flags.add_limits(parser)
    flags.add_isolation_flags(parser)
    flags.add_network_flags(parser)
    flags.add_mount_flags(parser)
    add("image", metavar="IMAGE", help="image to run")
    add(
        "command",
        metavar="COMMAND",
        nargs=REST,
        help="command and arguments (default: the image's)",
    )


def create_options(args: "Namespace", *, detached: bool, attach_stdin: bool) -> "CreateOptions":
    """The parsed words as the engine takes them. Raises InvalidArgument for values that are not what they must be."""
    from tiffin.engine.options import CreateOptions

    options = CreateOptions(
        image=args.image,
        command=tuple(args.command),
        name=args.name,
        tty=args.tty,
        open_stdin=args.interactive,
        stdin_once=args.interactive and not detached,
        attach_stdin=attach_stdin,
        attach_stdout=not detached,
        attach_stderr=not detached,
        auto_remove=args.rm,
        log=_log(args),
        platform=args.platform,
        **keeping_options(args),
    )
    for complete in (_with_process, _with_network, _with_files, _with_rights):
        options = complete(options, args)
    many = len(args.network) > 1 or "=" in options.network
    if many or args.ip or args.ip6 or args.network_alias or args.mac_address:
        from tiffin.cli import network_values

        options = options._replace(joins=network_values.joins(args))
    if any(getattr(args, name) for name in flags.RARE):
        from tiffin.cli import container_values

        options = container_values.complete(options, args)
    return options


def _with_process(options: "CreateOptions", args: "Namespace") -> "CreateOptions":
    return options._replace(
        entrypoint=None if args.entrypoint is None else (args.entrypoint,) if args.entrypoint else (),
        env=(*env_files(args.env_file), *args.env),
        user=args.user,
        group_add=tuple(args.group_add),
        workdir=args.workdir,
        init=args.init,
        stop_signal=args.stop_signal,
        stop_timeout=args.stop_timeout,
        labels=tuple(args.label),
    )


def _with_network(options: "CreateOptions", args: "Namespace") -> "CreateOptions":
    return options._replace(
        hostname=args.hostname,
        domainname=args.domainname,
        publish=tuple(args.publish),
        publish_all=args.publish_all,
        expose=tuple(args.expose),
        network=args.network[0] if args.network else "bridge",
        extra_hosts=tuple(args.add_host),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=tuple(args.dns_option),
        links=tuple(args.link),
    )


def _with_files(options: "CreateOptions", args: "Namespace") -> "CreateOptions":
    return options._replace(
        volumes=tuple(args.volume),
        mounts=tuple(args.mount),
        tmpfs=tuple(args.tmpfs),
        shm_size=size(args.shm_size, "--shm-size") if args.shm_size else 64 * 1024 * 1024,
        read_only=args.read_only,
    )


def _with_rights(options: "CreateOptions", args: "Namespace") -> "CreateOptions":
    """What its processes may do, and how much of the machine they get."""
    limits = resources(args)._replace(
        memory_swappiness=args.memory_swappiness, oom_kill_disable=args.oom_kill_disable
    )
    return options._replace(
        resources=limits,
        cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop),
        privileged=args.privileged,
        sysctls=tuple(args.sysctl),
        oom_score_adj=args.oom_score_adj,
    )


def resources(args: "Namespace") -> "Resources":
    """The limits that a running container's can be changed to, too; of --bandwidth see `container_values`."""
    from tiffin.containers.record import Resources

    swap = args.memory_swap
    return Resources(
        nano_cpus=_nano_cpus(args.cpus),
        cpu_shares=args.cpu_shares,
        cpu_quota=args.cpu_quota,
        cpu_period=args.cpu_period,
        cpu_rt_period=args.cpu_rt_period,
        cpu_rt_runtime=args.cpu_rt_runtime,
        cpuset_cpus=args.cpuset_cpus,
        cpuset_mems=args.cpuset_mems,
        memory=size(args.memory, "--memory") if args.memory else 0,
        memory_swap=-1 if swap == "-1" else size(swap, "--memory-swap") if swap else 0,
        memory_reservation=size(args.memory_reservation, "--memory-reservation")
        if args.memory_reservation
        else 0,
        pids_limit=args.pids_limit,
        blkio_weight=args.blkio_weight,
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


def _nano_cpus(text: str) -> int:
    if not text:
        return 0
    import re

    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text) is None:
        raise InvalidArgument(f'invalid argument "{text}" for "--cpus": want a number such as 0.5 or 2')
    return round(float(text) * 1_000_000_000)


def env_files(files: list[str]) -> list[str]:
    """Lines NAME=VALUE or NAME; blank lines and lines beginning with # are left out, as Docker reads them."""
    return [line for name in files for line in named_lines(name, "an environment", "variable name")]


def named_lines(name: str, kind: str, noun: str) -> list[str]:
    """The lines NAME=VALUE or NAME of a file. Raises InvalidArgument, OSError."""
    found: list[str] = []
    if os.path.getsize(name) > _FILE_LIMIT:
        raise InvalidArgument(f"{name}: {kind} file may have at most 1 MiB")
    with open(name, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n").lstrip()
            if not text or text.startswith("#"):
                continue
            key = text.partition("=")[0]
            if not key or any(c.isspace() for c in key):
                raise InvalidArgument(f"{name}:{number}: {noun} '{key}' is empty or contains whitespace")
            found.append(text)
    return found
