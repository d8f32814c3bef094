"""The commands of tiffin-runtime, as data."""

from __future__ import annotations

from tiffin.cli.oci.words import FLAG, LIST, NUMBER, VALUE, Flag
from tiffin.typed import NamedTuple


class OciCommand(NamedTuple):
    """`module` below tiffin.cli.oci holds `run_<name>`. `operands`: how few and how many."""

    name: str
    usage: str
    summary: str
    module: str
    flags: tuple[Flag, ...]
    operands: tuple[int, int]
    example: str


_BUNDLE = Flag(("bundle", "b"), VALUE, "directory with config.json and the root (default: this one)", "DIR")
_CONSOLE = Flag(("console-socket",), VALUE, "socket that is sent the terminal's master", "PATH")
_PID_FILE = Flag(("pid-file",), VALUE, "file to write the process's pid to", "FILE")
_PRESERVE = Flag(("preserve-fds",), NUMBER, "pass on that many descriptors, from 3", "N")
_NO_KEYRING = Flag(("no-new-keyring",), FLAG, "stay in the caller's session keyring")
_NO_PIVOT = Flag(("no-pivot",), FLAG, "refused: it would leave the machine's root in reach")
_FORMAT = Flag(("format", "f"), VALUE, "table or json", "FORMAT", "table")
_MAKING = (_BUNDLE, _CONSOLE, _PID_FILE, _PRESERVE, _NO_KEYRING, _NO_PIVOT)
_EVERY = 1 << 20

COMMANDS = (
    OciCommand("create", "[OPTIONS] ID", "Create a container", "lifecycle", _MAKING, (1, 1),
               "tiffin-runtime create --bundle /bundle c1"),
    OciCommand("delete", "[OPTIONS] ID", "Delete a container, its cgroup and its state", "lifecycle",
               (Flag(("force", "f"), FLAG, "kill it if it still runs; a missing one is no error"),), (1, 1),
               "tiffin-runtime delete --force c1"),
    OciCommand("events", "[OPTIONS] ID", "Print what a container uses", "others",
               (Flag(("stats",), FLAG, "print once and end"),
                Flag(("interval",), VALUE, "how often otherwise (5s)", "TIME", "5s")), (1, 1),
               "tiffin-runtime events --stats c1"),
    OciCommand("exec", "[OPTIONS] ID COMMAND [ARG...]", "Run a further process in a container", "lifecycle",
               (_CONSOLE, _PID_FILE, _PRESERVE,
                Flag(("process", "p"), VALUE, "file with the process object to run", "FILE"),
                Flag(("detach", "d"), FLAG, "do not wait for it"),
                Flag(("tty", "t"), FLAG, "give it a terminal"),
                Flag(("user", "u"), VALUE, "uid[:gid]", "UID"),
                Flag(("additional-gids", "g"), LIST, "a further group", "GID"),
                Flag(("cwd",), VALUE, "working directory", "DIR"),
                Flag(("env", "e"), LIST, "environment variable", "NAME=VALUE"),
                Flag(("cap", "c"), LIST, "further capability", "NAME"),
                Flag(("apparmor",), VALUE, "AppArmor profile", "NAME"),
                Flag(("process-label",), VALUE, "SELinux label", "LABEL"),
                Flag(("no-new-privs",), FLAG, "it may gain no privileges"),
                Flag(("ignore-paused",), FLAG, "queue it in a paused container")), (1, _EVERY),
               "tiffin-runtime exec -t c1 sh"),
    OciCommand("features", "", "Print what this runtime and machine can do", "others", (), (0, 0),
               "tiffin-runtime features"),
    OciCommand("kill", "[OPTIONS] ID [SIGNAL]", "Send a signal (default TERM)", "lifecycle",
               (Flag(("all", "a"), FLAG, "to every process in the container"),), (1, 2),
               "tiffin-runtime kill c1 KILL"),
    OciCommand("list", "[OPTIONS]", "List containers", "others",
               (_FORMAT, Flag(("quiet", "q"), FLAG, "ids alone")), (0, 0), "tiffin-runtime list"),
    OciCommand("pause", "ID", "Stop all processes of a container for now", "others", (), (1, 1),
               "tiffin-runtime pause c1"),
    OciCommand("ps", "[OPTIONS] ID [PS OPTIONS]", "List a container's processes", "others", (_FORMAT,), (1, _EVERY),
               "tiffin-runtime ps --format json c1"),
    OciCommand("resume", "ID", "Let a paused container go on", "others", (), (1, 1), "tiffin-runtime resume c1"),
    OciCommand("run", "[OPTIONS] ID", "Create, start, wait, delete", "lifecycle",
               (*_MAKING, Flag(("detach", "d"), FLAG, "do not wait"),
                Flag(("keep",), FLAG, "do not delete it at its end"),
                Flag(("no-subreaper",), FLAG, "accepted: nothing is reaped but the container's process")), (1, 1),
               "tiffin-runtime run --bundle /bundle c1"),
    OciCommand("spec", "[OPTIONS]", "Write a config.json to begin with", "others", (_BUNDLE,), (0, 0),
               "tiffin-runtime spec --bundle /bundle"),
    OciCommand("start", "ID", "Start a created container", "lifecycle", (), (1, 1), "tiffin-runtime start c1"),
    OciCommand("state", "ID", "Print a container's state", "lifecycle", (), (1, 1), "tiffin-runtime state c1"),
    OciCommand("update", "[OPTIONS] ID", "Change a container's limits", "others",
               (Flag(("resources", "r"), VALUE, "file with a resources object, - for standard input", "FILE"),
                Flag(("memory",), VALUE, "memory limit, bytes", "N"),
                Flag(("memory-reservation",), VALUE, "soft memory limit, bytes", "N"),
                Flag(("memory-swap",), VALUE, "memory and swap, bytes; -1 for no limit", "N"),
                Flag(("cpu-shares", "cpu-share"), VALUE, "relative weight", "N"),
                Flag(("cpu-period",), VALUE, "microseconds", "N"),
                Flag(("cpu-quota",), VALUE, "microseconds in a period", "N"),
                Flag(("cpu-burst",), VALUE, "microseconds saved up", "N"),
                Flag(("cpu-rt-period",), VALUE, "microseconds", "N"),
                Flag(("cpu-rt-runtime",), VALUE, "microseconds", "N"),
                Flag(("cpu-idle",), VALUE, "1: only when nobody else wants to run", "N"),
                Flag(("cpuset-cpus",), VALUE, "CPUs", "LIST"),
                Flag(("cpuset-mems",), VALUE, "memory nodes", "LIST"),
                Flag(("pids-limit",), VALUE, "processes; -1 for no limit", "N"),
                Flag(("blkio-weight",), VALUE, "10 to 1000", "N")), (1, 1),
               "tiffin-runtime update --memory 268435456 c1"),
)  # fmt: skip

GLOBAL = (
    Flag(("root",), VALUE, "where state is kept (/run/tiffin-runtime)", "DIR"),
    Flag(("log",), VALUE, "file to append the log to (standard error)", "FILE"),
    Flag(("log-format",), VALUE, "text or json", "FORMAT", "text"),
    Flag(("debug",), FLAG, "show the whole traceback of an error"),
    Flag(("systemd-cgroup",), FLAG, "refused: cgroups are made here, not by systemd"),
    Flag(("criu",), VALUE, "accepted: there are no checkpoints", "PATH"),
    Flag(("rootless",), VALUE, "auto, true or false; accepted, since nothing differs", "WHEN", "auto"),
    Flag(("version", "v"), FLAG, "print the version"),
    Flag(("help", "h"), FLAG, "print this help"),
)


def find(name: str) -> OciCommand | None:
    return next((command for command in COMMANDS if command.name == name), None)
