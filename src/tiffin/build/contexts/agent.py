"""An ssh agent lent to a RUN: a socket in its container, behind which we pass on what a client needs, and no more.

    client in the container ─ socket ─ Forwarder ─ the caller's own agent

Asking for the list of keys and for signatures is passed on. Adding, removing, locking and extensions are answered
with a failure, and never reach the agent (draft-miller-ssh-agent, section 3). Requests and answers are bounded.
"""

from __future__ import annotations

import os
import select
import socket
import struct

from tiffin.errors import NotFound

_FAILURE = struct.pack(">IB", 1, 5)
_PASSED_ON = frozenset((11, 13))  # REQUEST_IDENTITIES, SIGN_REQUEST
_MESSAGE_MAX = 256 << 10
_CLIENTS_MAX = 32


class _Client:
    """A connection from the container. `waiting` is what it has asked so far, not yet a whole request."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting = bytearray()


class Forwarder:
    """Listens at `path`. To be polled: each descriptor of `poll` that is ready goes to `ready`."""

    def __init__(self, agent: str, path: str) -> None:
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(path)
        self._listener.listen(16)
        self._clients: dict[int, _Client] = {}
        self._poll: select.poll | None = None

    def close(self) -> None:
        """Idempotent."""
        for client in self._clients.values():
            client.connection.close()
        self._clients.clear()
        self._listener.close()

    def attend(self, poll: select.poll) -> None:
        """Have `poll` tell of the socket, and of those who connect to it."""
        self._poll = poll
        poll.register(self._listener.fileno(), select.POLLIN)

    def ready(self, fd: int) -> bool:
        """Do what there is to do at `fd`; False when that is none of ours."""
        if fd == self._listener.fileno():
            self._accept()
        elif fd in self._clients:
            client = self._clients[fd]
            try:
                alive = self._receive(client)
            except OSError:
                alive = False
            if not alive:
                self._drop(client)
        else:
            return False
        return True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone again
            return
        if self._poll is None or len(self._clients) >= _CLIENTS_MAX:
            connection.close()
            return
        connection.settimeout(10)  # a client that does not read its answer is not waited for
        self._clients[connection.fileno()] = _Client(connection)
        self._poll.register(connection.fileno(), select.POLLIN)

    def _drop(self, client: _Client) -> None:
        fd = client.connection.fileno()
        if self._poll is not None:
            self._poll.unregister(fd)
        del self._clients[fd]
        client.connection.close()

    def _receive(self, client: _Client) -> bool:
        data = client.connection.recv(1 << 16)
        client.waiting += data
        while len(client.waiting) >= 5:
            (length,) = struct.unpack_from(">I", client.waiting)
            if not 1 <= length <= _MESSAGE_MAX:
                return False
            if len(client.waiting) < 4 + length:
                break
            request = bytes(client.waiting[: 4 + length])
            del client.waiting[: 4 + length]
            client.connection.sendall(self._answer(request))
        return bool(data)

    def _answer(self, request: bytes) -> bytes:
        if request[4] not in _PASSED_ON:
            return _FAILURE
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.settimeout(60)  # somebody may have to touch a key
                agent.connect(self._agent)
                agent.sendall(request)
                header = _exactly(agent, 4)
                (length,) = struct.unpack(">I", header)
                if not 1 <= length <= _MESSAGE_MAX:
                    return _FAILURE
                return header + _exactly(agent, length)
        except (OSError, EOFError):
            return _FAILURE


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def check_agent(path: str, name: str) -> None:
    """Raises NotFound when no agent listens at `path`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.connect(os.path.realpath(path))
    except OSError as error:
        raise NotFound(
            f"no ssh agent answers for --ssh {name}: {error.strerror or error}; start one and set SSH_AUTH_SOCK"
        ) from error
