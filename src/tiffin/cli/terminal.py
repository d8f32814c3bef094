"""The caller's side of an attached container: which streams to hand over, and the keys that leave it."""

import os
import sys

from tiffin.cli.output import UsageError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.options import Streams

_STREAMS = ("stdin", "stdout", "stderr")


def add_detach_keys(parser: "CommandParser", what: str = "container") -> None:
    """--detach-keys, whose default is in the settings file, which only a terminal needs read."""
    parser.add_argument(
        "--detach-keys",
        metavar="KEYS",
        help=f"keys that leave the {what} running (default ctrl-p,ctrl-q, or as configured)",
    )


def add_sig_proxy(parser: "CommandParser") -> None:
    parser.switch("--sig-proxy", default=True, help="pass signals on to the command (default true)")


def add_attach(parser: "CommandParser") -> None:
    """-a of run and create."""
    parser.add_argument(
        "-a",
        "--attach",
        action="append",
        default=[],
        metavar="STREAM",
        help="attach STDIN, STDOUT or STDERR alone (default: both outputs, and input with -i)",
    )


def attached_streams(args: "Namespace") -> tuple[bool, bool, bool]:
    """Which of stdin, stdout and stderr -a and -i choose, by Docker's rules. Raises UsageError."""
    chosen = [name.lower() for name in args.attach]
    for name, given in zip(chosen, args.attach, strict=True):
        if name not in _STREAMS:
            raise UsageError(
                f'invalid argument "{given}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR',
                125,
            )
    return (
        args.interactive or "stdin" in chosen,
        not chosen or "stdout" in chosen,
        not chosen or "stderr" in chosen,
    )


def streams(
    *,
    stdin: bool,
    tty: bool,
    sig_proxy: bool = True,
    detach_keys: str = "",
    stdout: bool = True,
    stderr: bool = True,
) -> "Streams":
    """The process's own descriptors, those that are asked for. With a tty all output comes as one. `detach_keys` "" are
    the configured ones."""
    from tiffin.engine.options import Streams

    sys.stdout.flush()
    if tty:
        stdout, stderr = stdout or stderr, False
    return Streams(
        stdin=0 if stdin else None,
        stdout=1 if stdout else -1,
        stderr=2 if stderr else -1,
        detach_keys=detach_keys or (_configured_keys() if tty and stdin else ""),
        sig_proxy=sig_proxy,
    )


def _configured_keys() -> str:
    from tiffin.config import detach_keys

    return detach_keys()


def check_detach_keys(text: str) -> None:
    """Raises InvalidArgument for keys that are none, before anything is made."""
    if text:
        from tiffin.engine.detach import parse_keys

        parse_keys(text)


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Docker's refusal of `-it` when standard input is not a terminal, and its exit code."""
    if tty and stdin and not os.isatty(0):
        raise UsageError("the input device is not a TTY; leave out -t, or run it from a terminal", 1)


def left() -> None:
    """What Docker says after the detach keys of attach and exec."""
    print("read escape sequence", file=sys.stderr)
