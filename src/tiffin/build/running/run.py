"""RUN: a command in a container of its own over the layers so far, its writes going to the step's upper.

    worker ─ mount points made ─ network attached ─► runtime.create ─ start ─► output as messages ─► exit code
           ◄── mount points gone ◄── network, cgroup gone ◄───────────────────────────────────────────┘

The container is as `run` makes one: namespaces, capabilities, seccomp, masks. /etc/hosts, /etc/resolv.conf
and /etc/hostname are mounts, so what is written to them is for this RUN alone.
"""

from __future__ import annotations

import os
import select
import stat
from contextlib import ExitStack, suppress

from tiffin.build.planning.config import DEFAULT_PATH
from tiffin.errors import CommandNotExecutable, CommandNotFound, InvalidArgument, TiffinError, Unsupported
from tiffin.snapshot import Mount
from tiffin.state import Layout, open_store
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

# The network and runtime rooms are imported by the worker that needs them: a build that finds every step in the
# cache is over in the time that importing them takes.
if TYPE_CHECKING:
    from tiffin.build.contexts.agent import Forwarder
    from tiffin.build.planning.graph import RunWork
    from tiffin.build.solving.steps import Around, Stack
    from tiffin.build.workers import Channel
    from tiffin.runtime.create import InitProcess

HOSTNAME = "build"  # one for all, so that a program that writes it down gives the same layer everywhere


class Ears(NamedTuple):
    """Who is listened to while the command runs: it, for `channel`, and those who ask for agents."""

    channel: Channel
    agents: tuple[Forwarder, ...]


class Runner:
    """Executes RUN steps of one engine. Called in a step's worker process."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __call__(self, stack: Stack, work: RunWork, channel: Channel, around: Around) -> int:
        """The command's exit code, 128 + n after signal n. What it wrote is in the stack's upper. Raises
        CommandNotFound, CommandNotExecutable, InvalidArgument (no such user) and what the runtime raises.
        """
        from tiffin.build.running.mountpoints import MountPoints
        from tiffin.build.running.run_mounts import prepare
        from tiffin.network.manager import Networks

        identity = os.path.basename(stack.directory)
        with ExitStack() as undo:
            store = open_store(self._layout)
            undo.callback(store.close)
            # First, for it may wait for a cache that another build has locked.
            ready = prepare(stack, work, around, store, channel, undo)
            networks = Networks(store)
            undo.callback(networks.detach, identity)
            attachment = networks.attach(identity, work.network)
            for notice in attachment.notices:
                channel.tell({"notice": notice})
            if attachment.netns_fd >= 0:
                undo.callback(os.close, attachment.netns_fd)
            gateway = attachment.gateway or attachment.gateway6 or "127.0.0.1"
            files = _write_files(stack.directory, work, attachment.address, gateway)
            spec = _spec(work, (*files, *ready.mounts), ready.env)
            points = undo.enter_context(MountPoints(stack.upper))
            with stack.writable() as root:
                _check_platform(work, root)
                points.prepare(root, _targets(spec["mounts"]))
            with stack.readonly() as lower:
                points.remember(lower)
            room = _Room(identity, stack, attachment.netns_fd)
            status, failure = 0, None
            try:
                status = self._execute(room, spec, Ears(channel, ready.agents))
            except (CommandNotFound, CommandNotExecutable) as error:
                status, failure = error.exit_code, error
            shell = around.lent.shell
            if status and shell.fd >= 0:
                channel.tell({"shell": status})
                again = _spec(work, (*files, *ready.again), ready.env, shell.command)
                self._lend_shell(room, again, shell.fd, ready.agents)
            points.remove()
            if failure is not None:
                raise failure
        return status

    def _execute(self, room: _Room, spec: dict[str, Any], ears: Ears) -> int:
        with ExitStack() as undo:
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, null)
            outputs = {}
            inputs = []
            for stream in (1, 2):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                undo.callback(os.close, reader)
                outputs[reader] = stream
                inputs.append(writer)
            try:
                process = self._create(room, spec, (null, inputs[0], inputs[1]))
            finally:
                for writer in inputs:
                    os.close(writer)
            try:
                process.start()
                _relay(outputs, ears)
                return process.wait()
            finally:
                _end(process)

    def _create(
        self, room: _Room, spec: dict[str, Any], stdio: tuple[int, int, int] = (0, 1, 2)
    ) -> InitProcess:
        from tiffin.init import open_helper
        from tiffin.runtime.create import CreateRequest, create

        mount_point = f"{room.stack.directory}/rootfs"
        os.makedirs(mount_point, 0o755, exist_ok=True)
        helper = open_helper()
        try:
            request = CreateRequest(
                id=room.identity,
                spec=spec,
                root=room.stack.mount,
                mount_point=mount_point,
                stdio=stdio,
                netns_fd=room.netns_fd,
                cgroup_parent=self._layout.cgroup,
                seccomp_cache=self._layout.cache,
                helper_fd=helper,
            )
            return create(request)
        finally:
            os.close(helper)

    def _lend_shell(self, room: _Room, spec: dict[str, Any], fd: int, agents: tuple[Forwarder, ...]) -> None:
        """A shell beside what the command left, for the caller, until it ends. No failure of its own counts."""
        import socket

        from tiffin.build.running import shell

        with socket.socket(fileno=os.dup(fd)) as end:
            os.close(fd)
            try:
                if not shell.wait_for_caller(end):
                    return
                process = self._create(room, spec)
                try:
                    process.start()
                    code = shell.lend(end, process, agents)
                finally:
                    _end(process)
                end.send(shell.ENDED + bytes([code & 0xFF]))
            except OSError:
                return  # nobody is there any more
            except TiffinError as error:
                with suppress(OSError):
                    end.send(shell.FAILED + str(error).encode()[: shell.PACKET - 1])


class _Room(NamedTuple):
    """Where the containers of a step are: their name, files and network."""

    identity: str
    stack: Stack
    netns_fd: int


def _end(process: InitProcess) -> None:
    """Whatever state it is in: nothing of it remains. A command that could not be started has seen to
    that."""
    if process.pidfd >= 0:
        process.destroy()


def _relay(outputs: dict[int, int], ears: Ears) -> None:
    """Send what the command writes until nobody has its end open any more: when its first process ends, the
    kernel ends all others of its pid namespace. Agents are attended to meanwhile.
    """
    poll = select.poll()
    for fd in outputs:
        poll.register(fd, select.POLLIN)
    for agent in ears.agents:
        agent.attend(poll)
    left = len(outputs)
    while left:
        for fd, _ in poll.poll():
            if any(agent.ready(fd) for agent in ears.agents):
                continue
            data = os.read(fd, 1 << 16)
            if data:
                ears.channel.log(outputs[fd], data)
            else:
                poll.unregister(fd)
                left -= 1


def _check_platform(work: RunWork, root: int) -> None:
    """Raises InvalidArgument, for it is the Dockerfile that asks for it, when nothing here executes the files of the
    tree `root`."""
    if work.platform is None:
        return
    from tiffin.oci.platform import host_platform

    if work.platform == host_platform():
        return
    from tiffin.kernel.paths import open_in_root
    from tiffin.runtime import emulation

    def in_root(path: str) -> bool:
        try:
            os.close(open_in_root(root, path.lstrip("/"), os.O_PATH))
        except OSError:
            return False
        return True

    try:
        emulation.check(work.platform, in_root, asked=True)
    except Unsupported as error:
        raise InvalidArgument(str(error)) from error


def _spec(work: RunWork, mounts: tuple[Mount, ...], lent: tuple[str, ...], shell: str = "") -> dict[str, Any]:
    """The document for the command; with `shell` for that, on a terminal, and otherwise the same."""
    from tiffin.runtime.defaults import SHM_SIZE, choose_capabilities, rlimits
    from tiffin.runtime.spec import ContainerOptions, default_spec

    env = [*work.env, *work.quiet_env, *lent]
    if not any(pair.startswith("PATH=") for pair in env):
        env.insert(0, f"PATH={DEFAULT_PATH}")
    if shell and not any(pair.startswith("TERM=") for pair in env):
        env.append("TERM=xterm")
    limits: dict[str, Any] = dict(work.around.limits)
    options = ContainerOptions(
        argv=(shell,) if shell else work.argv,
        terminal=bool(shell),
        env=env,
        cwd=work.cwd,
        user=work.user,
        hostname=HOSTNAME,
        mounts=mounts,
        host=frozenset({"network"}) if work.network == "host" else frozenset(),
        capabilities=choose_capabilities(privileged=work.insecure).granted,
        privileged=work.insecure,
        shm_size=work.around.shm_size or SHM_SIZE,
        rlimits=rlimits(work.around.ulimits) if work.around.ulimits else (),
        **limits,
    )
    return default_spec(options)


def _write_files(directory: str, work: RunWork, address: str, gateway: str) -> tuple[Mount, ...]:
    """The files that are mounted into the container, and their mounts."""
    from tiffin.network import files

    extra = [(name, gateway if ip == "host-gateway" else ip) for name, ip in work.around.hosts]
    resolv = files.host_resolv_conf() if work.network == "host" else files.resolv_conf()
    texts = [
        ("hosts", "/etc/hosts", files.hosts(address, [HOSTNAME], extra), 0o644, "rw"),
        ("resolv.conf", "/etc/resolv.conf", resolv, 0o644, "rw"),
        ("hostname", "/etc/hostname", f"{HOSTNAME}\n", 0o644, "rw"),
    ]
    if work.script is not None:
        texts.append(("script", work.script[0], work.script[1], 0o755, "ro"))
    mounts = []
    for name, target, text, mode, access in texts:
        path = f"{directory}/{name}"
        with open(path, "x", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
        os.chmod(path, mode)
        mounts.append(Mount(target, "bind", path, ("rbind", access, "rprivate")))
    return tuple(mounts)


def _targets(mounts: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Where the document mounts something on the image's own files: (path, whether it is a directory)."""
    found: list[tuple[str, bool]] = []
    for mount in mounts:
        path = mount["destination"]
        if not any(path.startswith(f"{above}/") for above, directory in found if directory):
            found.append((path, _is_directory(mount)))
    return found


def _is_directory(mount: dict[str, Any]) -> bool:
    if "fd" in mount:
        return stat.S_ISDIR(os.fstat(mount["fd"]).st_mode)
    return bool(mount["type"] != "bind")
