"""Containers made by another OCI runtime (`tiffin run --runtime runc`): the same interface as `create` and `exec`.

    external = External("runc", layout.container(id), id)
    init = external.create(request)          # a `FirstProcess`
    init.start(); init.wait()
    external.delete()                        # idempotent, by whoever cleans up

The root is mounted in a mount namespace of the calling process, which must be one that has nothing else to do: the
runtime's container grows from it, and when the process ends, no mount is left behind. It also becomes the reaper of
what the runtime leaves behind, so that it gets the exit code. In the container's directory:

    runtime              the program's path: by this file it is known whose container it is
    external/config.json, external/state/, external/log
"""

from __future__ import annotations

import json
import os

from tiffin.errors import CommandNotExecutable, CommandNotFound, EngineError, InvalidArgument, TiffinError
from tiffin.kernel.mounts import MS_REC, MS_SLAVE, mount, umount
from tiffin.kernel.namespaces import CLONE_NEWNS, unshare
from tiffin.kernel.paths import AT_FDCWD, remove_tree
from tiffin.kernel.process import pidfd_open, pidfd_send_signal, set_child_subreaper
from tiffin.runtime import rootfs
from tiffin.runtime.cgroups import Cgroup, open_cgroup
from tiffin.runtime.exec import ExecProcess, ExecRequest, open_container
from tiffin.runtime.forked import Descriptors, FirstProcess
from tiffin.runtime.process import find_user
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.runtime.create import CreateRequest

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SIGKILL = 9
_PATIENCE = 120.0  # seconds for one call of the runtime
_LOG_LIMIT = 1 << 20
_NOT_FOUND = ("executable file not found", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "exec format error", "is a directory")


def find_program(name: str) -> str:
    """The program of a runtime: an absolute path, or a name in the system's directories. Raises InvalidArgument."""
    if name.startswith("/"):
        candidates = [name]
    elif "/" in name or not name:
        candidates = []
    else:
        candidates = [f"{directory}/{name}" for directory in _PATH.split(":")]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise InvalidArgument(
        f"unknown or invalid runtime name: {name}; give an OCI runtime such as runc, or its path"
    )


def of_container(directory: str, container_id: str) -> External | None:
    """The runtime that made the container in `directory`; None for the engine's own."""
    try:
        fd = os.open(f"{directory}/runtime", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return External(os.fsdecode(os.read(fd, 4096)), directory, container_id)
    finally:
        os.close(fd)


class _Outcome(NamedTuple):
    code: int
    said: str


class External:
    """One container of another runtime's. `program` is a path or name (see `find_program`)."""

    def __init__(self, program: str, directory: str, container_id: str) -> None:
        self._program = program
        self._directory, self._own = directory, f"{directory}/external"
        self._id = container_id
        self._command = ""  # what is being started

    # ---- the three that the supervisor calls

    def create(self, request: CreateRequest) -> ExternalProcess:
        """As `tiffin.runtime.create.create`; of the request's fields the helper and the cache are not used. Raises
        the same errors; nothing remains of the container then but its directory's files."""
        program = find_program(self._program)
        set_child_subreaper()
        with step("make a mount namespace"):
            unshare(CLONE_NEWNS)
            mount(None, "/", None, MS_REC | MS_SLAVE)
        root_fd = rootfs.mount_root(request.root, request.mount_point)
        try:
            remove_tree(AT_FDCWD, self._own)
            os.makedirs(f"{self._own}/state", mode=0o700)
            cgroup = open_cgroup(request.cgroup or f"{request.cgroup_parent}/{request.id}")
            document = _document(request, cgroup, root_fd)
            _write(f"{self._own}/config.json", json.dumps(document))
            _write(f"{self._directory}/runtime", program)
        finally:
            os.close(root_fd)
        words = ["create", "--bundle", self._own, "--pid-file", f"{self._own}/pid"]
        self._command = document["process"]["args"][0]
        terminal = bool(document["process"].get("terminal"))
        try:
            console = self._call_with_console(words, request.stdio, terminal)
            return ExternalProcess(self, _read_pid(f"{self._own}/pid"), cgroup, console)
        except BaseException as error:
            _attempt(self.delete, error)
            raise

    def exec(self, request: ExecRequest) -> ExecProcess:
        """As `tiffin.runtime.exec.exec_process`; the filter is the container's own."""
        set_child_subreaper()
        number = os.getpid()
        process_file, pid_file = f"{self._own}/process.{number}", f"{self._own}/pid.{number}"
        fds = Descriptors()
        try:
            with step("open the container's process"):
                _, root_fd = open_container(request, fds)
            process = _process(request.process, root_fd)
            self._command = process["args"][0]
            _write(process_file, json.dumps(process))
            words = ["exec", "--detach", "--process", process_file, "--pid-file", pid_file]
            console = self._call_with_console(words, request.stdio, bool(process.get("terminal")))
            return ExecProcess(_read_pid(pid_file), console, [])
        finally:
            fds.close()
            for path in (process_file, pid_file):
                if os.path.exists(path):
                    os.unlink(path)

    def delete(self) -> None:
        """Have the runtime forget the container, ending what runs. Idempotent. Raises EngineError."""
        outcome = self._call(["delete", "--force"], (-1, -1, -1))
        if outcome.code and "does not exist" not in outcome.said:
            raise EngineError(f"{self._name} cannot delete the container: {outcome.said}")
        try:
            umount(f"{self._directory}/rootfs")
        except OSError:
            pass  # whoever mounted it has ended, and the mount with it
        remove_tree(AT_FDCWD, self._own)
        remove_tree(AT_FDCWD, f"{self._directory}/runtime")

    def start(self) -> None:
        """Raises CommandNotFound, CommandNotExecutable, EngineError."""
        self._demand(["start"], (-1, -1, -1))

    # ---- calling it

    @property
    def _name(self) -> str:
        return os.path.basename(self._program)

    def _demand(self, words: list[str], stdio: tuple[int, int, int]) -> None:
        outcome = self._call(words, stdio)
        if outcome.code == 0:
            return
        lower = outcome.said.lower()
        if "exec" in lower and any(text in lower for text in _NOT_FOUND):
            raise CommandNotFound(self._said(outcome))
        if "exec" in lower and any(text in lower for text in _NOT_EXECUTABLE):
            raise CommandNotExecutable(self._said(outcome))
        raise EngineError(f"{self._name}: {outcome.said}")

    def _said(self, outcome: _Outcome) -> str:
        """With the command, which not every runtime names."""
        if self._command in outcome.said:
            return outcome.said
        return f'exec: "{self._command}": {outcome.said}'

    def _call(self, words: list[str], stdio: tuple[int, int, int]) -> _Outcome:
        """Run `program <words> <id>`; -1 in `stdio` is /dev/null, and for errors what is repeated here."""
        log = f"{self._own}/log.{os.getpid()}"
        command = [
            self._program,
            "--root",
            f"{self._own}/state",
            "--log",
            log,
            "--log-format",
            "json",
            *words,
            self._id,
        ]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        errors = os.memfd_create("tiffin-errors", os.MFD_CLOEXEC)
        places = [fd if fd >= 0 else (errors if at == 2 else null) for at, fd in enumerate(stdio)]
        high = [_above(fd) for fd in places]
        try:
            program = find_program(self._program)
            actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(high)]
            pid = os.posix_spawn(
                program, command, {"PATH": _PATH}, file_actions=actions, setsigmask=(), setsigdef=(13,)
            )
            code = _await(pid, self._name)
            return _Outcome(code, _complaint(log, errors) if code else "")
        except OSError as error:
            raise EngineError(f"cannot run {self._program}: {(error.strerror or '').lower()}") from error
        finally:
            for fd in (null, errors, *high):
                os.close(fd)
            if os.path.exists(log):
                os.unlink(log)

    def _call_with_console(self, words: list[str], stdio: tuple[int, int, int], terminal: bool) -> int:
        """The terminal's master, -1 without one."""
        if not terminal:
            self._demand(words, stdio)
            return -1
        import socket

        directory = os.open(self._own, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        name = f"console.{os.getpid()}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                # By the descriptor's name: a socket's path may have 107 bytes.
                listener.bind(f"/proc/self/fd/{directory}/{name}")
                listener.listen(1)
                listener.settimeout(_PATIENCE)
                path = f"/proc/{os.getpid()}/fd/{directory}/{name}"
                self._demand([*words, "--console-socket", path], (-1, -1, -1))
                connection, _ = listener.accept()
                with connection:
                    _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            if not fds:
                raise EngineError(f"{self._name} sent no terminal")
            os.set_inheritable(fds[0], False)
            return fds[0]
        finally:
            os.unlink(name, dir_fd=directory) if _has(directory, name) else None
            os.close(directory)


class ExternalProcess(FirstProcess):
    """A container's first process, made by another runtime."""

    def __init__(self, external: External, pid: int, cgroup: Cgroup, console_fd: int) -> None:
        super().__init__(pid, cgroup, console_fd)
        self._external = external

    def start(self) -> None:
        try:
            self._external.start()
        except TiffinError:
            self.destroy()
            raise

    def _remove(self) -> None:
        self._external.delete()


# ---- the document as other runtimes read it


def _document(request: CreateRequest, cgroup: Cgroup, root_fd: int) -> dict[str, Any]:
    spec = request.spec
    linux = dict(spec.get("linux") or {})
    linux["cgroupsPath"] = f"/{cgroup.path}"
    if request.netns_fd >= 0:
        path = f"/proc/{os.getpid()}/fd/{request.netns_fd}"
        linux["namespaces"] = [
            {**entry, "path": path} if entry["type"] == "network" else entry for entry in linux["namespaces"]
        ]
    linux["namespaces"] = [_not_of_self(entry) for entry in linux["namespaces"]]
    profile = (linux.get("seccomp") or {}).get("profile")
    if profile is not None:
        from tiffin.runtime.seccomp import read_profile
        from tiffin.runtime.seccomp.profile import specification

        bounding = frozenset((spec["process"].get("capabilities") or {}).get("bounding") or ())
        linux["seccomp"] = specification(read_profile(profile), bounding)
    return {
        **spec,
        "ociVersion": "1.0.2",
        "process": _process(spec["process"], root_fd),
        "root": {**(spec.get("root") or {}), "path": request.mount_point},
        "mounts": [_mount(entry) for entry in spec.get("mounts") or ()],
        "linux": linux,
    }


def _not_of_self(entry: dict[str, Any]) -> dict[str, Any]:
    """A namespace by a path that means the same to another process."""
    path = entry.get("path") or ""
    return {**entry, "path": f"/proc/{os.getpid()}/{path[11:]}"} if path.startswith("/proc/self/") else entry


def _mount(entry: dict[str, Any]) -> dict[str, Any]:
    """With rbind, this engine's ro means all that is below too; others have a word of its own for that."""
    words = list(entry.get("options") or ())
    return {**entry, "options": [*words, "rro"]} if "rbind" in words and "ro" in words else entry


def _process(process: Mapping[str, Any], root_fd: int) -> dict[str, Any]:
    """Names looked up in the container's own files, as ever without running a line of it."""
    if process.get("init"):
        raise InvalidArgument("--init is this engine's own helper: it does not go with --runtime")
    user = find_user(process, root_fd)
    env = list(process.get("env") or ())
    if not any(word.startswith("HOME=") for word in env):
        env.append(f"HOME={user.home}")
    ids = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
    return {**process, "user": ids, "env": env}


# ---- small things


def _await(pid: int, name: str) -> int:
    import select

    pidfd = pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(_PATIENCE * 1000):
            pidfd_send_signal(pidfd, _SIGKILL)
            os.waitpid(pid, 0)
            raise EngineError(f"{name} did not end within {_PATIENCE:.0f} s and was killed")
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _complaint(log: str, errors: int) -> str:
    """The last error of the runtime's log, else what it wrote to its standard error."""
    try:
        with open(log, "rb") as file:
            lines = file.read(_LOG_LIMIT).splitlines()
    except FileNotFoundError:
        lines = []
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            return str(entry.get("msg"))
    text = os.pread(errors, 4096, 0).decode("utf-8", "replace").strip()
    return text.splitlines()[-1] if text else "it failed and did not say why"


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read(32))
    except (OSError, ValueError) as error:
        raise EngineError("the runtime wrote no pid file") from error


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(os.fsencode(text))
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _above(fd: int) -> int:
    """A copy out of the way of 0 to 2, which are about to be replaced."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def _has(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _attempt(undo: Any, error: BaseException) -> None:
    try:
        undo()
    except TiffinError as failed:
        error.add_note(f"and while cleaning up: {failed}")
