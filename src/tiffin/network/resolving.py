"""Names for containers on networks that users made: how the resolver (see resolver.py) comes by its sockets.

A container's /etc/resolv.conf names 127.0.0.11. In its own network namespace rules lead port 53 of that address to
two sockets on free ports, so that a name server in the container may have port 53. Whoever attaches the container makes
them before its first process runs, and hands them to the resolver: what is asked meanwhile waits in them.

    supervisor ──{"container": ID} + udp, tcp (SCM_RIGHTS)──▶ run/resolver.sock
               ◀─"served"───────────────────────────────────
               ──────── connection: as long as it is open, the container is served ────────

    a command  ──{}──▶ run/resolver.sock     "see who runs and is not served yet"
               ◀─"served"────────────────

In the namespace of a container that runs already nobody but the resolver makes sockets: two who do so at the same
time would leave the rule of one with the sockets of the other.

The first container starts the resolver; it ends when it serves none any more. Should it be killed, the next command
that looks after the networks starts another, which finds the running containers by their rows.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys

from tiffin.errors import EngineError
from tiffin.kernel.namespaces import CLONE_NEWNET, setns
from tiffin.network.tool import run_nft
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.state import Layout

ADDRESS = "127.0.0.11"
LISTENER = 3  # the descriptor that a resolver is born with
SERVED = b"served"
_NAME = "resolver.sock"
_ADOPT = b"{}"
_TRIES = 3
_PATIENCE = 30.0  # seconds: a machine may have much to do
# The ports are written in the packets, there and back. A nat chain would have the kernel track the connections of all
# packets in that namespace: a tenth of what a container can send to another.
_TABLE = """\
table ip tiffin_dns {{}}
delete table ip tiffin_dns
table ip tiffin_dns {{
  chain output {{
    type filter hook output priority mangle; policy accept;
    ip daddr {address} udp dport 53 udp dport set {udp}
    ip daddr {address} tcp dport 53 tcp dport set {tcp}
    ip saddr {address} udp sport {udp} udp sport set 53
    ip saddr {address} tcp sport {tcp} tcp sport set 53
  }}
}}
"""


def open_sockets(netns_fd: int) -> tuple[socket.socket, socket.socket]:
    """The sockets, UDP and TCP, to which port 53 of ADDRESS leads in that namespace. The calling thread is in it for a
    moment."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(netns_fd, CLONE_NEWNET)
        try:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            udp.bind((ADDRESS, 0))
            tcp.bind((ADDRESS, 0))
            tcp.listen(32)
            ports = {"udp": udp.getsockname()[1], "tcp": tcp.getsockname()[1]}
            run_nft(_TABLE.format(address=ADDRESS, **ports))
            return udp, tcp
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def serve(layout: Layout, container_id: str, netns_fd: int) -> int:
    """Have the names of a container resolved whose first process is yet to start, as long as the returned connection is
    open; `await_served` says from when on. Raises EngineError."""
    try:
        udp, tcp = open_sockets(netns_fd)
        with udp, tcp, socket_to(layout)[0] as connection:
            message = json.dumps({"container": container_id}).encode()
            socket.send_fds(connection, [message], [udp.fileno(), tcp.fileno()])
            return connection.detach()
    except OSError as error:
        raise EngineError(f"cannot reach the resolver of names: {error}") from error


def await_served(layout: Layout, connection: int) -> None:
    """Until the container of that connection is served. Its row must say by now that it runs: a resolver that was
    killed meanwhile is replaced, and the new one finds it by that. Raises EngineError."""
    if not _is_told(connection):
        adopt(layout)


def adopt(layout: Layout) -> None:
    """Have every container served that runs and is on a network with names, by a new resolver if there is none.
    Returns when they are. Raises EngineError."""
    try:
        for _ in range(_TRIES):
            with socket_to(layout)[0] as connection:
                connection.send(_ADOPT)
                if _is_told(connection.fileno()):
                    return
    except OSError as error:
        raise EngineError(f"cannot reach the resolver of names: {error}") from error
    raise EngineError(f"the resolver of names ended {_TRIES} times while it started; look for what kills it")


def keep(layout: Layout) -> None:
    """The same without waiting for a resolver that is there: for whoever only looks after things."""
    connection, started = socket_to(layout)
    with connection:
        connection.send(_ADOPT)
        if started:
            _is_told(connection.fileno())


def _is_told(connection: int) -> bool:
    """Whether the resolver says "served" rather than dies. Raises EngineError when it does neither."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    if not poller.poll(_PATIENCE * 1000):
        raise EngineError(
            f"the resolver of names has not answered for {_PATIENCE:.0f} s; end it, another one is started"
        )
    try:
        return bool(os.read(connection, 64))
    except ConnectionResetError:
        return False


def socket_to(layout: Layout) -> tuple[socket.socket, bool]:
    """A connection to the engine's resolver, and whether it had to be started."""
    directory = os.open(layout.run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    path = f"/proc/self/fd/{directory}/{_NAME}"  # a socket's own path may have 107 bytes only
    lock = lock_file(f"{layout.run}/resolver.lock")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_PATIENCE)
    started = False
    try:
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            _start(layout, path)
            connection.connect(path)
            started = True
        return connection, started
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(lock)
        os.close(directory)


def retire(layout: Layout, listener: socket.socket) -> socket.socket | None:
    """For the resolver that serves nobody: withdraw, so that the next container starts another; or a connection that
    came at this very moment."""
    lock = lock_file(f"{layout.run}/resolver.lock")
    try:
        listener.setblocking(False)
        try:
            return listener.accept()[0]
        except BlockingIOError:
            os.unlink(f"{layout.run}/{_NAME}")
            return None
    finally:
        os.close(lock)


def _start(layout: Layout, path: str) -> None:
    """Under the lock. A shell puts it into the background: it is to be nobody's child."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = (
        f"import sys; sys.path.insert(0, {home!r}); sys.dont_write_bytecode = True;"
        f" from tiffin.network.resolver import main; main({layout.root!r}, {layout.run!r})"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(128)
        words = ["sh", "-c", 'cd / && exec "$@" >/dev/null 2>&1 & :', "sh"]
        pid = os.posix_spawn(
            "/bin/sh",
            [*words, sys.executable, "-I", "-S", "-c", program],
            {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            file_actions=[(os.POSIX_SPAWN_DUP2, listener.fileno(), LISTENER)],
            setsigmask=(),
        )
        os.waitpid(pid, 0)
