"""The loop between a process, its log and its clients: nobody who stops reading stops the container for ever."""

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tiffin.containers.record import LogConfig
from tiffin.kernel.process import pidfd_open
from tiffin.supervisor import client as clients
from tiffin.supervisor import session as sessions
from tiffin.supervisor.client import Client
from tiffin.supervisor.frames import Kind, Want
from tiffin.supervisor.logs.files import NAME
from tiffin.supervisor.logs.local import LocalLog
from tiffin.supervisor.session import Session
from tiffin.supervisor.stdio import Stdio


def test_a_client_that_takes_nothing_is_let_go_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "STALLED", 0.3)
    monkeypatch.setattr(sessions, "_LOOK_AGAIN", 0.1)
    flood = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    assert flood.stdout is not None
    reading = os.dup(flood.stdout.fileno())
    flood.stdout.close()
    ours, theirs = socket.socketpair()
    session = Session(
        pidfd_open(flood.pid),
        Stdio(stdout=reading),
        log=LocalLog(str(tmp_path), LogConfig("local", max_size=0)),
        drain=0.1,
    )
    stuck = Client(theirs, Want.STDOUT)
    session.add(stuck)
    loop = threading.Thread(target=session.run)
    loop.start()
    try:
        held = 2 * clients.HIGH_WATER + (1 << 20)
        deadline = time.monotonic() + 30
        while (tmp_path / NAME).stat().st_size < held:
            assert time.monotonic() < deadline, "the client still holds the output back"
            time.sleep(0.05)
        assert not stuck.open
    finally:
        flood.kill()
        loop.join(30)
        flood.wait()
        ours.close()
    session.finish(137)


def test_a_slow_client_is_not_a_stalled_one() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        client = Client(theirs, Want.STDOUT)
        while not client.backlog:
            client.queue(Kind.STDOUT, b"x" * 65536)
        assert not client.is_stalled()
        while client.backlog:
            ours.recv(1 << 20)
            client.flush()
        assert not client.is_stalled()
        client.close()
