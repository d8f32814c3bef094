"""The errors of tiffin: one class per outcome.

    TiffinError
    ├── InvalidArgument        the caller's words are wrong: syntax, option, reference      400, exit 125
    │   └── DockerfileError    a Dockerfile (file, line, instruction) that cannot be built  400, exit 1
    ├── NotFound               the named thing does not exist                              404, exit 1
    ├── Conflict               name or port taken, thing in use, wrong state               409, exit 1
    ├── Corrupt                stored or received bytes do not match their digest or form  500, exit 1
    ├── LimitExceeded          an input passed a stated bound                              413, exit 1
    ├── Unsupported            this kernel, machine or build of tiffin cannot do it        501, exit 125
    ├── PermissionDenied       root, or a capability, is needed                            403, exit 125
    ├── NoSpace                the disk or a quota is full                                 507, exit 125
    ├── CommandNotFound        the container's command does not exist                      400, exit 127
    ├── CommandNotExecutable   it exists and cannot be executed                            400, exit 126
    └── EngineError            anything else that the kernel or a tool refused             500, exit 125
        └── PluginFailed       a volume plugin refused, or did not answer well             500, exit 125

A message is one line: lower case, names the thing, says what to do next. `run` and `create` exit 125 for
whatever fails before the container's command (Docker's rule); the command line applies that.
Imports nothing.
"""


class TiffinError(Exception):
    """The root of everything that tiffin raises on purpose. `str()` is one line fit for a terminal."""

    code = "error"
    http_status = 500
    exit_code = 1


class InvalidArgument(TiffinError):
    """The caller's words are wrong."""

    code = "invalid_argument"
    http_status = 400
    exit_code = 125


class DockerfileError(InvalidArgument):
    """A Dockerfile that cannot be built; `line` counts from 1, 0 when the whole file is meant. `excerpt` are its lines
    there as people are to see them, "" where they are not known."""

    excerpt = ""

    code = "dockerfile"
    exit_code = 1

    def __init__(
        self, message: str, *, file: str = "Dockerfile", line: int = 0, instruction: str = ""
    ) -> None:
        self.file, self.line, self.instruction, self.reason = file, line, instruction, message
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {instruction + ': ' if instruction else ''}{message}")


class NotFound(TiffinError):
    """The named thing does not exist. Texts such as "No such container: x" are compatibility data."""

    code = "not_found"
    http_status = 404


class Conflict(TiffinError):
    """A name or port is taken, or the thing is in use or in the wrong state."""

    code = "conflict"
    http_status = 409


class Corrupt(TiffinError):
    """Bytes that do not match their digest, length or form; nothing of them was kept."""

    code = "corrupt"


class LimitExceeded(TiffinError):
    """An input passed a stated bound."""

    code = "limit"
    http_status = 413


class Unsupported(TiffinError):
    """This kernel, machine or build cannot do it; the message says what would."""

    code = "unsupported"
    http_status = 501
    exit_code = 125


class PermissionDenied(TiffinError):
    """Root, a named capability, or a registry's leave is needed."""

    code = "permission"
    http_status = 403
    exit_code = 125


class Unauthorized(TiffinError):
    """A registry wants to know who asks, or does not believe it."""

    code = "unauthorized"
    http_status = 401
    exit_code = 1


class TransferError(TiffinError):
    """A registry could not be reached, broke off, or answered what it must not; worth trying again later."""

    code = "transfer"
    http_status = 502
    exit_code = 1


class NoSpace(TiffinError):
    """The disk is full; what was half written has been removed."""

    code = "no_space"
    http_status = 507
    exit_code = 125


class CommandNotFound(TiffinError):
    """The container's command does not exist in its root filesystem."""

    code = "command_not_found"
    http_status = 400
    exit_code = 127


class CommandNotExecutable(TiffinError):
    """The container's command exists and cannot be executed."""

    code = "command_not_executable"
    http_status = 400
    exit_code = 126


class EngineError(TiffinError):
    """The kernel or a host tool refused; the cause is chained."""

    code = "engine"
    exit_code = 125


class PluginFailed(EngineError):
    """A program that keeps volumes for us refused, gave no good answer, or none."""

    code = "plugin"
