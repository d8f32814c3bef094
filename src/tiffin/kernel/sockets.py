"""Sockets, as the library's `socket` has them, without what that module does when it is imported: every number of every
family becomes an enumeration, with `enum` and `selectors` behind it: 6 ms of a command, and a megabyte of a supervisor.

    from tiffin.kernel import sockets as socket

Of `_socket`, the extension module that `socket` itself is made of, this adds what a supervisor and its callers need.
Constants are plain numbers. Anything else (names to addresses, files, TLS) is `socket`'s own.
"""

from __future__ import annotations

import _socket
import sys
from _socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    AF_UNSPEC,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_V6ONLY,
    MSG_DONTWAIT,
    MSG_PEEK,
    MSG_TRUNC,
    SO_PEERCRED,
    SO_REUSEADDR,
    SO_SNDBUF,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    inet_aton,
    inet_ntoa,
    inet_ntop,
    inet_pton,
)

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "AF_INET",
    "AF_INET6",
    "AF_NETLINK",
    "AF_UNIX",
    "AF_UNSPEC",
    "IPPROTO_IPV6",
    "IPPROTO_UDP",
    "IPV6_V6ONLY",
    "MSG_DONTWAIT",
    "MSG_PEEK",
    "MSG_TRUNC",
    "SOCK_CLOEXEC",
    "SOCK_DGRAM",
    "SOCK_NONBLOCK",
    "SOCK_RAW",
    "SOCK_SEQPACKET",
    "SOCK_STREAM",
    "SOL_SOCKET",
    "SO_PEERCRED",
    "SO_REUSEADDR",
    "SO_SNDBUF",
    "inet_aton",
    "inet_ntoa",
    "inet_ntop",
    "inet_pton",
    "recv_fds",
    "send_fds",
    "socket",
    "socketpair",
]

_INT = 4  # bytes of a descriptor in a message


class socket(_socket.socket):
    """A socket, not inherited by programs that are executed. A context manager that closes it."""

    __slots__ = ()

    def __enter__(self) -> socket:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def accept(self) -> tuple[socket, Any]:
        """The next connection, and where it comes from. Blocking, whatever this socket is."""
        fd, address = self._accept()  # type: ignore[attr-defined] # what `socket` itself makes its `accept` of
        return socket(fileno=fd), address


def socketpair(family: int = AF_UNIX, kind: int = SOCK_STREAM) -> tuple[socket, socket]:
    """Two sockets that are connected to each other."""
    ours, theirs = _socket.socketpair(family, kind)
    return socket(family, kind, 0, ours.detach()), socket(family, kind, 0, theirs.detach())


def send_fds(connection: _socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
    """Send a message with descriptors (unix(7), SCM_RIGHTS). Of a stream, the first part may be sent alone."""
    rights = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in descriptors)
    connection.sendmsg([message], [(SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def recv_fds(connection: _socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """A message of at most `size` bytes and its descriptors, of at most `most`, close-on-exec; they are the caller's to
    close."""
    flags = _socket.MSG_CMSG_CLOEXEC
    message, ancillary, _, _ = connection.recvmsg(size, _socket.CMSG_LEN(most * _INT), flags)
    descriptors: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_SOCKET, _socket.SCM_RIGHTS):
            whole = len(data) - len(data) % _INT
            descriptors += [
                int.from_bytes(data[at : at + _INT], sys.byteorder) for at in range(0, whole, _INT)
            ]
    return message, descriptors
