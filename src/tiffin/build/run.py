"""RUN: a command in a container of its own over the layers so far, its writes going to the step's upper.

    worker ─ mount points made ─ network attached ─► runtime.create ─ start ─► output as messages ─► exit code
           ◄── mount points gone ◄── network, cgroup gone ◄───────────────────────────────────────────┘

The container is as `run` makes one: namespaces, capabilities, seccomp, masks. /etc/hosts, /etc/resolv.conf
and /etc/hostname are mounts, so what is written to them is for this RUN alone.
"""

from __future__ import annotations

import os
import select
from contextlib import ExitStack

from tiffin.build.config import DEFAULT_PATH
from tiffin.snapshot import Mount
from tiffin.state import Layout, open_store
from tiffin.typed import TYPE_CHECKING, Any

# The network and runtime rooms are imported by the worker that needs them: a build that finds every step in the
# cache is over in the time that importing them takes.
if TYPE_CHECKING:
    from tiffin.build.plan import RunWork
    from tiffin.build.steps import Stack
    from tiffin.build.workers import Channel
    from tiffin.runtime.create import InitProcess

HOSTNAME = "build"  # one for all, so that a program that writes it down gives the same layer everywhere


class Runner:
    """Executes RUN steps of one engine. Called in a step's worker process."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __call__(self, stack: Stack, work: RunWork, channel: Channel) -> int:
        """The command's exit code, 128 + n after signal n. What it wrote is in the stack's upper. Raises
        CommandNotFound, CommandNotExecutable, InvalidArgument (no such user) and what the runtime raises.
        """
        from tiffin.build.mountpoints import MountPoints
        from tiffin.network.manager import Networks

        identity = os.path.basename(stack.directory)
        with ExitStack() as undo:
            store = open_store(self._layout)
            undo.callback(store.close)
            networks = Networks(store)
            undo.callback(networks.detach, identity)
            attachment = networks.attach(identity, work.network)
            for notice in attachment.notices:
                channel.tell({"notice": notice})
            if attachment.netns_fd >= 0:
                undo.callback(os.close, attachment.netns_fd)
            mounts = _write_files(stack.directory, work, attachment.address)
            spec = _spec(work, mounts)
            points = undo.enter_context(MountPoints(stack.upper))
            with stack.writable() as root:
                points.prepare(root, _targets(spec["mounts"]))
            with stack.readonly() as lower:
                points.remember(lower)
            code = self._execute(identity, spec, stack, attachment.netns_fd, channel)
            points.remove()
        return code

    def _execute(
        self, identity: str, spec: dict[str, Any], stack: Stack, netns_fd: int, channel: Channel
    ) -> int:
        from tiffin.init import open_helper
        from tiffin.runtime.create import CreateRequest, create

        mount_point = f"{stack.directory}/rootfs"
        os.mkdir(mount_point, 0o755)
        with ExitStack() as undo:
            helper = open_helper()
            undo.callback(os.close, helper)
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, null)
            outputs = {}
            inputs = []
            for stream in (1, 2):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                undo.callback(os.close, reader)
                outputs[reader] = stream
                inputs.append(writer)
            request = CreateRequest(
                id=identity,
                spec=spec,
                root=stack.mount,
                mount_point=mount_point,
                stdio=(null, inputs[0], inputs[1]),
                netns_fd=netns_fd,
                cgroup_parent=self._layout.cgroup,
                seccomp_cache=self._layout.cache,
                helper_fd=helper,
            )
            try:
                process = create(request)
            finally:
                for writer in inputs:
                    os.close(writer)
            try:
                process.start()
                _relay(outputs, channel)
                return process.wait()
            finally:
                _end(process)


def _end(process: InitProcess) -> None:
    """Whatever state it is in: nothing of it remains. A command that could not be started has seen to
    that."""
    if process.pidfd >= 0:
        process.destroy()


def _relay(outputs: dict[int, int], channel: Channel) -> None:
    """Send what the command writes until nobody has its end open any more: when its first process ends, the
    kernel ends all others of its pid namespace.
    """
    poll = select.poll()
    for fd in outputs:
        poll.register(fd, select.POLLIN)
    left = len(outputs)
    while left:
        for fd, _ in poll.poll():
            data = os.read(fd, 1 << 16)
            if data:
                channel.log(outputs[fd], data)
            else:
                poll.unregister(fd)
                left -= 1


def _spec(work: RunWork, mounts: tuple[Mount, ...]) -> dict[str, Any]:
    from tiffin.runtime.spec import ContainerOptions, default_spec

    env = [*work.env, *work.quiet_env]
    if not any(pair.startswith("PATH=") for pair in env):
        env.insert(0, f"PATH={DEFAULT_PATH}")
    options = ContainerOptions(
        argv=work.argv,
        env=env,
        cwd=work.cwd,
        user=work.user,
        hostname=HOSTNAME,
        mounts=mounts,
        host=frozenset({"network"}) if work.network == "host" else frozenset(),
    )
    return default_spec(options)


def _write_files(directory: str, work: RunWork, address: str) -> tuple[Mount, ...]:
    """The files that are mounted into the container, and their mounts."""
    from tiffin.network import files

    resolv = files.host_resolv_conf() if work.network == "host" else files.resolv_conf()
    texts = [
        ("hosts", "/etc/hosts", files.hosts(address, [HOSTNAME]), 0o644, "rw"),
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
            found.append((path, mount["type"] != "bind"))
    return found
