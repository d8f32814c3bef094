"""`tiffin login`."""

import os
import sys

from tiffin.errors import InvalidArgument, PermissionDenied, Unauthorized
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Log in to a registry, Docker Hub when none is named, and keep the password as docker login does: in
$DOCKER_CONFIG/config.json (~/.docker), or with the credential helper that it names. Without -u a login that is kept is
tried first."""
EXAMPLES = """\
tiffin login ghcr.io -u me --password-stdin < token.txt
tiffin login localhost:5000
"""
_PASSWORD_MAX = 64 << 10


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-u", "--username", metavar="USER", help="user name")
    parser.add_argument(
        "-p",
        "--password",
        metavar="PASSWORD",
        help="password or token; others see it in the list of processes",
    )
    parser.switch("--password-stdin", help="read the password or token from standard input")
    parser.add_argument("server", metavar="SERVER", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    registry = session.engine.registry
    username, password = args.username, _given_password(args)
    if not username and not password and (kept := registry.logged_in(args.server)) is not None:
        if _again(args.server, kept, session):
            return 0
    else:
        kept = None
    username, password = _asked(username, password, kept or "")
    done = registry.login(args.server, username, password)
    if done.plain:
        _warn(
            f"\nWARNING! Your credentials are stored unencrypted in '{done.stored}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n\n"
        )
    print(done.status)
    return 0


def _again(server: str, username: str, session: "Session") -> bool:
    """Whether the login that is kept is good still. Only a registry that says no is a reason to ask for another one."""
    from tiffin.cli.output import escape

    shown = f" [Username: {username}]" if username else ""
    _warn(escape(f"Authenticating with existing credentials...{shown}\n"))
    try:
        done = session.engine.registry.login(server)
    except (Unauthorized, PermissionDenied) as error:
        _warn(escape(f"Login did not succeed, error: {error}\n"))
        return False
    print(done.status)
    return True


def _given_password(args: "Namespace") -> str:
    """The password of the command line or of standard input; "" when it is to be asked for."""
    if args.password and args.password_stdin:
        raise InvalidArgument("conflicting options: cannot specify both --password and --password-stdin")
    if args.password:
        _warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    if not args.password_stdin:
        return str(args.password)
    if not args.username:
        raise InvalidArgument("the --password-stdin option requires --username to be set")
    data = sys.stdin.buffer.read(_PASSWORD_MAX + 1)
    try:
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:  # without its cause, which quotes the bytes
        raise InvalidArgument("the password on standard input is not UTF-8") from None
    if not password or len(data) > _PASSWORD_MAX:
        raise InvalidArgument("standard input holds no password: want one of up to 64 KiB")
    return password


def _asked(username: str, password: str, default: str) -> tuple[str, str]:
    """What is missing of a user name and a password, from the terminal; `default` is a name to accept by Enter."""
    if username and password:
        return username, password
    if not os.isatty(0):
        raise InvalidArgument(
            "Error: Cannot perform an interactive login from a non TTY device; use -u and --password-stdin"
        )
    try:
        if not username:
            username = input(f"Username ({default}): " if default else "Username: ").strip() or default
        if not username:
            raise InvalidArgument("Error: Non-null Username Required")
        password = password or _hidden("Password: ")
    except EOFError:
        raise InvalidArgument("login was given up: the input ended") from None
    if not password:
        raise InvalidArgument("Error: Password Required")
    return username, password


def _hidden(prompt: str) -> str:
    """A line from the terminal that is not shown; never one that is."""
    import getpass
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt)
        except getpass.GetPassWarning as error:
            raise InvalidArgument("cannot hide what is typed here; use --password-stdin") from error


def _warn(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text)
    sys.stderr.flush()
