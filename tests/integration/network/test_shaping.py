"""`--bandwidth`, measured: what a container gets and gives takes as long as it must."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root

SIZE = 5_000_000  # at 8 Mbit/s: five seconds


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


class Peer:
    """A server of the host's: sends SIZE bytes to who connects, then takes all that comes."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("0.0.0.0", 0))
        self.port = self.listener.getsockname()[1]
        self.taken = 0.0
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        began = time.monotonic()
        got = 0
        with connection:
            connection.sendall(bytes(SIZE))
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                got += len(data)
        assert got in (0, SIZE)
        self.taken = time.monotonic() - began

    def __enter__(self) -> "Peer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(60)
        self.listener.close()


def transfer(tiffin: Tiffin, *options: str, send: bool) -> float:
    script = "g=$(ip route | awk '/default/{print $3}'); "
    script += (
        f"head -c {SIZE} /dev/zero | nc $g $0 | head -c 1 >/dev/null"
        if send
        else "nc $g $0 </dev/null | wc -c"
    )
    with Peer() as peer:
        began = time.monotonic()
        done = tiffin("run", "--rm", *options, "busybox", "sh", "-c", script, str(peer.port))
        taken = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    if not send:
        assert done.stdout.strip() == str(SIZE)
    return taken


def test_what_comes_in_takes_as_long_as_it_must(tiffin: Tiffin) -> None:
    assert 4 <= transfer(tiffin, "--bandwidth", "8mbit:", send=False) <= 8


def test_without_a_limit_it_is_quick(tiffin: Tiffin) -> None:
    assert transfer(tiffin, "--bandwidth", ":8mbit", send=False) < 4


def test_a_running_containers_bandwidth_can_be_changed(tiffin: Tiffin) -> None:
    name = tiffin.ok("run", "-d", "--bandwidth", "100mbit", "busybox", "sleep", "1000")
    script = "g=$(ip route | awk '/default/{print $3}'); nc $g $0 </dev/null | wc -c"
    tiffin.ok("update", "--bandwidth", "8mbit", name)
    with Peer() as peer:
        began = time.monotonic()
        assert tiffin.ok("exec", name, "sh", "-c", script, str(peer.port)) == str(SIZE)
        assert 4 <= time.monotonic() - began <= 8
    tiffin.ok("rm", "-f", name)
