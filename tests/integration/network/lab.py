"""A machine of namespaces to test networks in, so that no test touches the real one's.

    outside (192.0.2.1) ──veth── machine (192.0.2.2, default route) ──tfn<engine>── containers

and in IPv6 2001:db8::1 and 2001:db8::2.

The test's own thread is in the machine's namespace while it lasts. Sockets belong to the namespace that they
were made in, so servers and clients of every place live side by side in this one process.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tiffin.kernel import netlink
from tiffin.kernel.namespaces import CLONE_NEWNET, setns, unshare

if TYPE_CHECKING:
    from collections.abc import Iterator

MACHINE = "192.0.2.2"
OUTSIDE = "192.0.2.1"
MACHINE6 = "2001:db8::2"
OUTSIDE6 = "2001:db8::1"
PATIENCE = 5.0  # for what must happen
REFUSAL = 0.3  # for what must not: every hop is on this machine


class Lab(NamedTuple):
    machine: int
    outside: int


def current_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(fd: int) -> Iterator[None]:
    """Be in another network namespace for a moment."""
    home = current_namespace()
    try:
        setns(fd, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


@contextmanager
def new_namespace() -> Iterator[int]:
    """A new namespace with its loopback up; ours stays current."""
    home = current_namespace()
    try:
        unshare(CLONE_NEWNET)
        fd = current_namespace()
        try:
            with netlink.Socket() as link:
                link.run(netlink.set_link("lo", up=True))
            setns(home, CLONE_NEWNET)
            yield fd
        finally:
            setns(home, CLONE_NEWNET)
            os.close(fd)
    finally:
        os.close(home)


@contextmanager
def lab() -> Iterator[Lab]:
    with new_namespace() as outside, new_namespace() as machine, inside(machine), netlink.Socket() as host:
        host.run(netlink.add_veth("up0", peer="eth0", peer_netns=outside), netlink.set_link("up0", up=True))
        with inside(outside), netlink.Socket() as far:
            eth0 = far.link("eth0")
            assert eth0 is not None
            far.run(
                netlink.set_link("eth0", up=True),
                netlink.add_address(eth0.ifindex, OUTSIDE, 24),
                netlink.add_address(eth0.ifindex, OUTSIDE6, 64),
            )
        up0 = host.link("up0")
        assert up0 is not None
        host.run(
            netlink.add_address(up0.ifindex, MACHINE, 24),
            netlink.add_route(OUTSIDE),
            netlink.add_address(up0.ifindex, MACHINE6, 64),
            netlink.add_route(OUTSIDE6),
        )
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            set_sysctl(name, "0")
        yield Lab(machine, outside)


def set_sysctl(name: str, value: str) -> None:
    """In the current namespace."""
    with open(f"/proc/sys/net/{name}", "w") as file:
        file.write(value)


def get_sysctl(name: str) -> str:
    with open(f"/proc/sys/net/{name}") as file:
        return file.read().strip()


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(fd: int, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A server in a namespace."""
    with inside(fd):
        server = socket.socket(family_of(address), kind)
    try:
        server.settimeout(PATIENCE)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen(8)
    except BaseException:
        server.close()
        raise
    return server


def reaches(source: int, target: tuple[str, int], server: socket.socket) -> str:
    """Connect from a namespace to an address, exchange bytes with `server`; the client address it saw."""
    with inside(source):
        client = socket.socket(family_of(target[0]), socket.SOCK_STREAM)
    with client:
        client.settimeout(PATIENCE)
        client.connect(target)
        accepted, peer = server.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            client.sendall(b"question")
            assert accepted.recv(64) == b"question"
            accepted.sendall(b"answer")
            assert client.recv(64) == b"answer"
    return str(peer[0])


def reaches_udp(source: int, target: tuple[str, int], server: socket.socket) -> str:
    with inside(source):
        client = socket.socket(family_of(target[0]), socket.SOCK_DGRAM)
    with client:
        client.settimeout(PATIENCE)
        client.connect(target)
        client.send(b"question")
        data, peer = server.recvfrom(64)
        assert data == b"question"
        server.sendto(b"answer", peer)
        assert client.recv(64) == b"answer"
    return str(peer[0])


def refused(source: int, target: tuple[str, int], *, bind: str = "") -> bool:
    """Whether no TCP connection comes about."""
    with inside(source):
        client = socket.socket(family_of(target[0]), socket.SOCK_STREAM)
    with client:
        client.settimeout(REFUSAL)
        if bind:
            client.bind((bind, 0))
        try:
            client.connect(target)
        except OSError:
            return True
    return False
