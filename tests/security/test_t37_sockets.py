"""T37: nothing of the engine is reachable from a container through shared kernel objects, not even with the host's
network: sockets are paths in 0700 directories, and a peer's user is checked."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import Ground
from tiffin.supervisor import control

pytestmark = pytest.mark.root


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    with busybox_tar().open("rb") as tar:
        made.engine.images.import_(tar, "busybox")
    yield made
    made.remove_all()
    made.engine.teardown()
    made.engine.close()


def test_a_container_in_the_hosts_network_sees_no_engine_socket(ground: Ground) -> None:
    container = ground.start("sleep", "1000", network="host")
    code, out, _ = ground.exec(container, "cat", "/proc/net/unix")
    assert code == 0
    names = [line.split()[-1].decode() for line in out.splitlines()[1:] if len(line.split()) == 8]
    assert not [name for name in names if name.startswith("@") and "tiffin" in name]
    assert not [name for name in names if ground.engine.layout.engine in name and name.startswith("@")]


def test_the_sockets_directories_are_private(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    path = Path(ground.engine.layout.container_run(container))
    for directory in (path, path.parent, path.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_another_user_is_turned_away_even_past_the_directories(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    path = Path(ground.engine.layout.container_run(container))
    path.chmod(0o777)
    (path / "sock").chmod(0o777)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(path)
            os.setgroups([])
            os.setgid(1000)
            os.setuid(1000)
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect("sock")
            client.settimeout(5)
            try:
                client.sendall(b"\x14\0\0\0\0\0\0\0")
                code = 0 if client.recv(1) == b"" else 1
            except ConnectionError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ours = control.connect(ground.engine.layout, container)
    assert ours is not None, "and the owner is still served"
    ours.close()
