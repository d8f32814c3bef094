"""The entry of tiffin-runtime: global flags, the command, one exit code; errors to standard error and to the log that
the caller named, as text or as the JSON lines that podman and containerd read."""

from __future__ import annotations

import gc
import os
import sys

from tiffin.cli.oci.table import COMMANDS, GLOBAL, OciCommand, find
from tiffin.cli.oci.words import Words, describe, read_words
from tiffin.cli.output import UsageError, escape
from tiffin.errors import TiffinError
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

WHO = "tiffin-runtime"


class Session(NamedTuple):
    """What a command is given beside its words."""

    root: str
    log: Log


class Log:
    """Where messages go. `path` "": standard error alone."""

    def __init__(self, path: str, form: str) -> None:
        if form not in ("text", "json"):
            raise UsageError(f"unknown log-format {form!r}: want text or json", 1)
        self._path, self._json = path, form == "json"

    def warn(self, text: str) -> None:
        self._write("warning", text)
        if not self._path:
            self._say("warning: " + text)

    def fail(self, text: str) -> None:
        self._write("error", text)
        self._say(text)

    def _say(self, text: str) -> None:
        try:
            print(f"{WHO}: {escape(text)}", file=sys.stderr, flush=True)
        except OSError:
            pass  # nobody reads it

    def _write(self, level: str, text: str) -> None:
        if not self._path:
            return
        import json
        import time

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            line = json.dumps({"level": level, "msg": text, "time": moment})
        else:
            line = f'time="{moment}" level={level} msg={json.dumps(text)}'
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, f"{line}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            self._say(f"cannot write the log {self._path}: {error.strerror}")


def script() -> NoReturn:
    """The program `tiffin-runtime`. Nothing is left to take apart at its end."""
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 1
    os._exit(code)


def main(argv: Sequence[str]) -> int:
    """One command line to its exit code: 1 for an error, 126 and 127 for a command that cannot be executed or found."""
    gc.disable()
    log = Log("", "text")
    debug = False
    try:
        words = read_words(argv, GLOBAL, WHO)
        debug = words.debug
        log = Log(words.log, words.log_format)
        return _dispatch(words, log)
    except UsageError as error:
        log.fail(str(error))
        return error.exit_code
    except TiffinError as error:
        if debug:
            raise
        log.fail(" (".join([str(error), *getattr(error, "__notes__", ())]))
        return error.exit_code if error.exit_code in (126, 127) else 1
    except BrokenPipeError:
        return 141
    except OSError as error:
        if debug:
            raise
        log.fail(f"{error.filename + ': ' if error.filename else ''}{(error.strerror or str(error)).lower()}")
        return 1
    except Exception as error:
        if debug:
            raise
        log.fail(
            f"internal error: {type(error).__name__}: {error}; please report it, with --debug's traceback"
        )
        return 1


def _dispatch(words: Words, log: Log) -> int:
    if words.version:
        from tiffin._version import __version__
        from tiffin.runtime.lifecycle.document import VERSION

        print(f"{WHO} version {__version__}\nspec: {VERSION}")
        return 0
    if words.help or not words.operands or words.operands[0] in ("help", "h"):
        print(_usage())
        return 0
    name, *rest = words.operands
    command = find(name)
    if command is None:
        raise UsageError(f"no such command: {name}; see '{WHO} --help'", 1)
    if any(
        word in ("--help", "-h")
        for word in rest[: next((i for i, w in enumerate(rest) if w[:1] != "-"), len(rest))]
    ):
        print(_usage_of(command))
        return 0
    if words.systemd_cgroup:
        raise UsageError(
            "--systemd-cgroup: this runtime makes cgroups itself (podman: --cgroup-manager cgroupfs; dockerd: "
            "--exec-opt native.cgroupdriver=cgroupfs; containerd: SystemdCgroup = false)", 1,
        )  # fmt: skip
    return _run(command, rest, Session(_root(words.root), log))


def _root(given: str) -> str:
    if given:
        return given
    from tiffin.runtime.lifecycle.records import DEFAULT_ROOT

    return DEFAULT_ROOT


def _run(command: OciCommand, words: list[str], session: Session) -> int:
    import importlib

    found = read_words(words, command.flags, f"{WHO} {command.name}")
    least, most = command.operands
    if not least <= len(found.operands) <= most:
        raise UsageError(f'"{WHO} {command.name}" wants: {WHO} {command.name} {command.usage}', 1)
    module = importlib.import_module(f"tiffin.cli.oci.{command.module}")
    code: int = getattr(module, f"run_{command.name}")(found, session)
    return code


def _usage() -> str:
    commands = "\n".join(f"  {command.name:<10} {command.summary}" for command in COMMANDS)
    return (
        f"Usage: {WHO} [OPTIONS] COMMAND\n\nAn OCI runtime: makes containers from bundles, for podman, containerd and "
        f"dockerd, or by hand.\n\nOptions:\n{describe(GLOBAL)}\n\nCommands:\n{commands}\n\nExamples:\n"
        f"  podman --runtime $(command -v {WHO}) run --rm alpine true\n"
        f"  dockerd --add-runtime tiffin=$(command -v {WHO})\n"
        f"  {WHO} spec --bundle /bundle && {WHO} run --bundle /bundle c1\n\n"
        f"Run '{WHO} COMMAND --help' for a command's options and an example."
    )


def _usage_of(command: OciCommand) -> str:
    text = f"Usage: {WHO} {command.name} {command.usage}".rstrip() + f"\n\n{command.summary}.\n"
    if command.flags:
        text += f"\nOptions:\n{describe(command.flags)}\n"
    return f"{text}\nExample:\n  {command.example}"


if __name__ == "__main__":
    script()
