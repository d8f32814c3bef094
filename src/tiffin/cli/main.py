"""The entry: global options, then the command's own module, then one exit code.

Nothing of a command is imported before it is chosen: an import is what a short command pays for.
"""

import gc
import os
import sys

from tiffin.cli.output import UsageError, escape, print_error
from tiffin.cli.table import COMMANDS, GROUPS, Command, find
from tiffin.errors import TiffinError
from tiffin.typed import TYPE_CHECKING, NamedTuple, Sequence

if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.engine import Engine

_GLOBAL = """\
Usage: tiffin [OPTIONS] COMMAND

A container engine: builds images from Dockerfiles, runs containers from them. Docker's commands, no daemon.

Options:
  --root DIR    where images, containers and volumes are kept ($TIFFIN_ROOT; /var/lib/tiffin)
  --run DIR     where the state of running containers is kept ($TIFFIN_RUN; /run/tiffin)
  --debug       show the whole traceback of an error
  --version     print the version
  --help        print this help
"""
_INTERRUPTED = 130
_EARLY = {"run", "create"}
_FORKING = {"run": "start", "start": "start", "exec": "exec"}
_LONG = {"build", "load", "save", "export", "import", "commit", "cp", "fsck", "logs", "pull", "push"}


class Globals(NamedTuple):
    """The options before the command."""

    root: str | None
    run: str | None
    debug: bool


class Session:
    """What a command is given: the global options, and the engine, opened when first asked for."""

    def __init__(self, options: Globals) -> None:
        self.options = options
        self._engine: Engine | None = None

    @property
    def engine(self) -> "Engine":
        if self._engine is None:
            from tiffin.engine import Engine

            self._engine = Engine(self.options.root, self.options.run)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def script() -> "NoReturn":
    """The program `tiffin`: `main`, and out. Taking a whole interpreter apart costs a short command 5 ms, and there is
    nothing left to do in it: the engine is closed, no thread runs, and the kernel frees memory faster."""
    _open_standard_descriptors()
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(code or 1)
    if (
        "threading" in sys.modules and code != _INTERRUPTED
    ):  # who interrupts waits for no thread at a slow registry
        sys.exit(code)
    os._exit(code)


def _open_standard_descriptors() -> None:
    """What the caller left closed would become the number of the first file that is opened, the database say, and be
    read as the input of a container, or written to as its output. Writing to what is open for reading is an error."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. Docker's codes: 125 an error before the container's command, 126
    and 127 a command that cannot be executed or found, else the command's own, and 1 for a failed other command."""
    # A collection in the middle of the imports costs a short command 4 ms, and there are several; what is
    # loaded now stays anyway. Commands that work for long switch it on again.
    gc.disable()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or "-D" in words
    command: Command | None = None
    try:
        options, rest = _globals(words)
        if options is None:
            return 0
        command, used = find(rest)
        if command is None:
            return _no_command(rest)
        return _dispatch(command, rest[used:], options)
    except UsageError as error:
        print_error(str(error))
        return error.exit_code
    except TiffinError as error:
        if debug:
            raise
        print_error(str(error))
        return _exit_code(command, error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        if debug:
            raise
        print_error(
            f"{error.filename + ': ' if error.filename else ''}{(error.strerror or str(error)).lower()}"
        )
        return 125 if command is not None and command.short in _EARLY else 1
    except Exception as error:
        if debug:
            raise
        print_error(
            f"internal error: {type(error).__name__}: {error}; please report it, with --debug's traceback"
        )
        return 125 if command is not None and command.short in _EARLY else 1


def _globals(words: list[str]) -> tuple[Globals | None, list[str]]:
    values: dict[str, str] = {}
    debug = False
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--root", "--run"):
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: {name}; see 'tiffin --help'", 125)
                value = rest.pop(0)
            values[name] = value
        elif word in ("--debug", "-D"):
            debug = True
        elif word in ("--version", "-v"):
            from tiffin._version import __version__

            print(f"tiffin version {__version__}")
            return None, []
        elif word in ("--help", "-h"):
            _help()
            return None, []
        else:
            raise UsageError(f"unknown flag: {word}; see 'tiffin --help'", 125)
    return Globals(values.get("--root"), values.get("--run"), debug), rest


def _dispatch(command: Command, words: list[str], options: Globals) -> int:
    session = Session(options)
    if options.debug:
        from tiffin.engine import remote

        remote.trace_to(lambda line: print(escape(line), file=sys.stderr, flush=True))
    if command.short in _FORKING and "--help" not in words:
        # before the words are parsed: meanwhile it loads
        session.engine.containers.expect(_FORKING[command.short], brief=True)
    from tiffin.cli.parser import CommandParser, HelpPrinted

    # `importlib` would bring `warnings` with it: 1 ms
    module = __import__(f"tiffin.cli.commands.{command.module}", fromlist=("run",))
    if command.short in _LONG:
        gc.freeze()
        gc.enable()
    parser = CommandParser(command, module.DESCRIPTION, module.EXAMPLES)
    module.arguments(parser)
    try:
        args = parser.parse(words)
        code: int = module.run(args, session)
        sys.stdout.flush()
        return code
    except HelpPrinted:
        return 0
    finally:
        session.close()


def _exit_code(command: Command | None, error: TiffinError) -> int:
    if command is None:
        return 1
    if command.short in ("run", "exec", "start") and error.exit_code in (126, 127):
        return error.exit_code
    return 125 if command.short in _EARLY else 1


def _no_command(words: list[str]) -> int:
    if not words:
        _help()
        return 0
    if words[0] in GROUPS and (len(words) == 1 or words[1] == "--help"):
        _help(words[0])
        return 0
    if words[0] == "help":
        command, _ = find(words[1:])
        if command is not None:
            return _dispatch(command, ["--help"], Globals(None, None, False))
        _help()
        return 0
    typed = " ".join(words[:2]) if words[0] in GROUPS else words[0]
    import difflib

    known = [name for command in COMMANDS for name in (command.short, command.words) if name]
    near = difflib.get_close_matches(typed, known, 1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise UsageError(f"'{typed}' is not a tiffin command{hint}; see 'tiffin --help'", 1)


def _help(group: str = "") -> None:
    shown = [c for c in COMMANDS if (c.words.startswith(group + " ") if group else c.short)]
    names = [(c.words.split()[-1] if group else c.short, c.summary) for c in shown]
    if group:
        same = ": the same commands as at the top, under their noun" if any(c.short for c in shown) else ""
        print(f"Usage: tiffin {group} COMMAND\n\n{GROUPS[group]}{same}.\n")
    else:
        print(_GLOBAL)
    print("Commands:")
    for name, summary in names:
        print(f"  {name:<12}{summary}")
    print(
        f"\nRun 'tiffin {group + ' ' if group else ''}COMMAND --help' for a command's options and examples."
    )
