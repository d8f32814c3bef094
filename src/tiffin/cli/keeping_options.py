"""The options of `run` and `create` that keep a container going: restart policy and health check."""

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.containers.record import RestartPolicy

_DURATIONS = {
    "interval": ("Interval", "time between checks, such as 10s (default 30s)"),
    "timeout": ("Timeout", "time that a check may take (default 30s)"),
    "start_period": ("StartPeriod", "time for the container to come up, in which failures do not count"),
    "start_interval": ("StartInterval", "time between checks within the start period (default 5s)"),
}


def add_keeping_options(parser: "CommandParser") -> None:
    """--restart, --health-*, --no-healthcheck."""
    add = parser.add_argument
    add(
        "--restart",
        default="",
        metavar="POLICY",
        help="when to run it again: no (default), on-failure[:N], always, unless-stopped",
    )
    add(
        "--health-cmd",
        default="",
        metavar="COMMAND",
        help="shell command that exits with 0 while all is well",
    )
    for name, (_, text) in _DURATIONS.items():
        add(f"--health-{name.replace('_', '-')}", default="", metavar="DURATION", help=text)
    add(
        "--health-retries",
        type=int,
        default=0,
        metavar="N",
        help="failures in a row that make it unhealthy (default 3)",
    )
    parser.switch("--no-healthcheck", help="do not check, whatever the image says")


def keeping_options(args: "Namespace") -> dict[str, Any]:
    """The fields of CreateOptions that were given. Raises InvalidArgument, with Docker's words."""
    found: dict[str, Any] = {}
    if args.restart:
        found["restart"] = _restart(args)
    check = _healthcheck(args)
    if check is not None:
        found["healthcheck"] = check
    return found


def _restart(args: "Namespace") -> "RestartPolicy":
    from tiffin.containers.policy import NO, parse_restart

    policy = parse_restart(args.restart)
    if args.rm and policy.name != NO:
        raise InvalidArgument("conflicting options: cannot specify both --restart and --rm")
    return policy


def _healthcheck(args: "Namespace") -> dict[str, Any] | None:
    given = {name: text for name in _DURATIONS if (text := getattr(args, f"health_{name}"))}
    if args.no_healthcheck:
        if given or args.health_cmd or args.health_retries:
            raise InvalidArgument("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not (given or args.health_cmd or args.health_retries):
        return None
    check: dict[str, Any] = {"Test": ["CMD-SHELL", args.health_cmd]} if args.health_cmd else {}
    for name, text in given.items():
        check[_DURATIONS[name][0]] = _duration(f"--health-{name.replace('_', '-')}", text)
    if args.health_retries < 0:
        raise InvalidArgument("--health-retries cannot be negative")
    return {**check, "Retries": args.health_retries} if args.health_retries else check


def _duration(option: str, text: str) -> int:
    from tiffin.dockerfile.durations import parse_duration

    try:
        found = parse_duration(text)
    except ValueError as error:
        raise InvalidArgument(f'invalid argument "{text}" for "{option}" flag: {error}') from error
    if found < 0:
        raise InvalidArgument(f"{option} cannot be negative")
    return found
