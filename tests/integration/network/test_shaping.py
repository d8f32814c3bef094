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
    """A server of the host's that one connects to: sends SIZE bytes, or takes all that comes; `got` says how many."""

    def __init__(self, *, sends: bool) -> None:
        self.sends, self.got = sends, 0
        self.listener = socket.create_server(("0.0.0.0", 0))
        self.listener.settimeout(60)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            if self.sends:
                connection.sendall(bytes(SIZE))
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                self.got += len(data)

    def __enter__(self) -> "Peer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(70)
        self.listener.close()


GATEWAY = "g=$(ip route | awk '/default/{print $3}'); "
TAKE = GATEWAY + "nc $g $0 </dev/null | wc -c"
SEND = GATEWAY + f"head -c {SIZE} /dev/zero | nc $g $0"


def seconds(tiffin: Tiffin, *words: str, sends: bool) -> float:
    """How long SIZE bytes take: `sends` from the host to the container, else the other way."""
    with Peer(sends=sends) as peer:
        began = time.monotonic()
        done = tiffin(*words, "sh", "-c", TAKE if sends else SEND, str(peer.port))
        taken = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout) if sends else peer.got) == SIZE
    return taken


def test_what_comes_in_takes_as_long_as_it_must(tiffin: Tiffin) -> None:
    assert 4 <= seconds(tiffin, "run", "--rm", "--bandwidth", "8mbit:", "busybox", sends=True) <= 8


def test_what_goes_out_takes_as_long_as_it_must(tiffin: Tiffin) -> None:
    assert 4 <= seconds(tiffin, "run", "--rm", "--bandwidth", ":8mbit", "busybox", sends=False) <= 8


def test_each_way_has_its_own_limit(tiffin: Tiffin) -> None:
    assert seconds(tiffin, "run", "--rm", "--bandwidth", "1gbit:8mbit", "busybox", sends=True) < 4


def test_a_running_containers_bandwidth_can_be_changed(tiffin: Tiffin) -> None:
    name = tiffin.ok("run", "-d", "--bandwidth", "100mbit", "busybox", "sleep", "1000")
    tiffin.ok("update", "--bandwidth", "8mbit", name)
    assert 4 <= seconds(tiffin, "exec", name, sends=True) <= 8
    tiffin.ok("rm", "-f", name)
