"""The options of `build` about all of its RUN steps: what they have around them, and what they may take."""

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser, Namespace

EXAMPLES = """\
tiffin build --no-cache-filter tests,docs .
tiffin build --add-host db:10.0.0.5 --shm-size 256m --ulimit nofile=4096 --memory 2g .
"""
_NUMBERS = ("cpu_shares", "cpu_period", "cpu_quota")
_NO = ("false", "0", "disabled=true")


def arguments(parser: "CommandParser") -> None:
    """What counts for the cache comes first: hosts, shared memory, ulimits."""
    add = parser.add_argument

    def many(name: str, metavar: str, text: str) -> None:
        add(name, action="append", default=[], metavar=metavar, help=text)

    many("--add-host", "NAME:IP", "line for /etc/hosts of RUN steps")
    add("--shm-size", metavar="SIZE", help="size of /dev/shm of RUN steps (default 64m)")
    many("--ulimit", "NAME=SOFT[:HARD]", "resource limit of RUN steps, such as nofile=1024")
    many("--no-cache-filter", "STAGE[,...]", "run every step of these stages")
    add("-m", "--memory", metavar="SIZE", help="memory that a RUN step may have")
    add("--memory-swap", metavar="SIZE", help="memory and swap together; -1 is unlimited")
    add("-c", "--cpu-shares", type=int, default=0, metavar="N", help="relative weight of CPU time")
    add("--cpu-period", type=int, default=0, metavar="US", help="length of a CPU period, microseconds")
    add("--cpu-quota", type=int, default=0, metavar="US", help="CPU time within a period, microseconds")
    add("--cpuset-cpus", metavar="LIST", help="CPUs that RUN steps may use, such as 0-3")
    add("--cpuset-mems", metavar="LIST", help="memory nodes that RUN steps may use")
    parser.switch("--rm", help="leave no container of a step behind, which none does", default=True)
    parser.switch("--force-rm", help="the same of a step that failed", default=True)
    add("--provenance", action="optional", metavar="VALUE", help="only false: no attestations are made")
    add("--sbom", action="optional", metavar="VALUE", help="only false: no attestations are made")
    many("--attest", "TYPE", "only with disabled=true: no attestations are made")


def request_fields(args: "Namespace") -> dict[str, Any]:
    """The fields of BuildRequest that the options give. Raises InvalidArgument, Unsupported."""
    _refuse_what_is_not_done(args)
    fields: dict[str, Any] = {"hosts": tuple(args.add_host)}
    words = [word.strip() for text in args.no_cache_filter for word in text.split(",")]
    fields["fresh"] = tuple(word for word in words if word)
    if args.ulimit:
        from tiffin.cli.container_values import ulimit

        fields["ulimits"] = tuple(ulimit(text) for text in args.ulimit)
    limits: dict[str, int | str] = {name: getattr(args, name) for name in _NUMBERS}
    limits |= {"cpuset_cpus": args.cpuset_cpus, "cpuset_mems": args.cpuset_mems}
    if args.shm_size or args.memory or args.memory_swap:
        from tiffin.cli.container_options import size

        fields["shm_size"] = size(args.shm_size, "--shm-size") if args.shm_size else 0
        limits["memory"] = size(args.memory, "-m, --memory") if args.memory else 0
        swap = args.memory_swap
        limits["memory_swap"] = -1 if swap == "-1" else size(swap, "--memory-swap") if swap else 0
    fields["limits"] = {name: value for name, value in limits.items() if value}
    return fields


def _refuse_what_is_not_done(args: "Namespace") -> None:
    for name, wanted in (("--rm", args.rm), ("--force-rm", args.force_rm)):
        if not wanted:
            raise InvalidArgument(
                f"{name}=false: a step leaves no container that could stay; see --shell-on-fail"
            )
    asked = [(f"--{name}", getattr(args, name)) for name in ("provenance", "sbom") if name in args.given]
    asked += [("--attest", text) for text in args.attest]
    for option, text in asked:
        if text.rpartition(",")[2].strip().lower() not in _NO:
            shown = f"{option}={text}" if text else option
            raise Unsupported(
                f"{shown}: tiffin makes no attestations; leave it out, or make one of the image that was built"
            )
