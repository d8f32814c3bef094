"""Sockets without the library's module: pairs, connections, descriptors in messages."""

import os
import select
from pathlib import Path

import pytest

from tiffin.kernel import sockets


def test_a_pair_is_connected_close_on_exec_and_closed_at_the_end() -> None:
    ours, theirs = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_SEQPACKET)
    with ours:
        with theirs:
            assert not os.get_inheritable(ours.fileno())
            theirs.send(b"one")
            theirs.send(b"two")
            assert ours.recv(100) == b"one"
        assert theirs.fileno() == -1
        assert ours.recv(100) == b"two"
        assert ours.recv(100) == b""


def test_a_message_brings_its_descriptors() -> None:
    ours, theirs = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_SEQPACKET)
    read, write = os.pipe()
    with ours, theirs:
        sockets.send_fds(ours, b"take these", [read, write])
        os.close(read)
        os.close(write)
        message, descriptors = sockets.recv_fds(theirs, 100, 4)
        assert message == b"take these"
        os.write(descriptors[1], b"through")
        assert os.read(descriptors[0], 100) == b"through"
        for fd in descriptors:
            os.close(fd)
        ours.close()
        assert sockets.recv_fds(theirs, 100, 4) == (b"", [])


def test_connections_are_accepted(tmp_path: Path) -> None:
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK)
    with listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        with pytest.raises(BlockingIOError):
            listener.accept()
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as caller:
            caller.connect(str(tmp_path / "s"))
            assert select.select([listener], [], [], 30)[0]
            connection, _ = listener.accept()
            with connection:
                assert isinstance(connection, sockets.socket)
                assert not os.get_inheritable(connection.fileno())
                caller.sendall(b"hello")
                assert connection.recv(100) == b"hello"
