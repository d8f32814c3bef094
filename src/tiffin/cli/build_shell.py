"""`build --shell-on-fail`: a shell where a step failed, at the terminal that the build was started from."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build.progress import Event, Progress, StepShell
from tiffin.cli.output import UsageError, print_warning
from tiffin.errors import EngineError
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.parser import Namespace

_SHELL = "/bin/sh"


def check(args: "Namespace") -> None:
    """Raises UsageError when a shell is wanted, and there is no terminal for it."""
    if _wanted(args) and not (os.isatty(0) and os.isatty(2)):
        raise UsageError(
            "--shell-on-fail needs a terminal, as standard input and standard error; leave it out, or build from one",
            1,
        )


@contextmanager
def lent(args: "Namespace", view: Progress) -> Iterator[tuple[Progress, dict[str, Any]]]:
    """The progress to use instead of `view`, and further fields of the request."""
    if not _wanted(args):
        yield view, {}
        return
    from tiffin.engine.build_shell import FailureShell
    from tiffin.engine.options import Streams

    with FailureShell(Streams(stdin=0, stdout=2)) as shell:

        def told(event: Event, /) -> None:
            view(event)
            if isinstance(event, StepShell):
                print(
                    f"step {event.step} failed with exit code {event.status}; this is a shell in its state, gone with"
                    " all that you change when you leave it",
                    file=sys.stderr,
                    flush=True,
                )
                try:
                    shell.attend()
                except EngineError as error:
                    print_warning(str(error))

        yield told, {"shell": args.shell_on_fail or _SHELL, "shell_fd": shell.fd}


def _wanted(args: "Namespace") -> bool:
    return "shell_on_fail" in args.given
