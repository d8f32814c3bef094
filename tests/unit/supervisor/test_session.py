"""The loop between a process, its log and its clients: nobody who stops reading stops the container for ever."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tiffin.containers.record import LogConfig
from tiffin.kernel import sockets as socket
from tiffin.kernel.process import pidfd_open
from tiffin.supervisor import client as clients
from tiffin.supervisor import session as sessions
from tiffin.supervisor.client import Client
from tiffin.supervisor.frames import FrameReader, Kind, Want, frame, restart_payload
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


def _process(seconds: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", seconds])


def _kinds(connection: socket.socket) -> list[int]:
    connection.settimeout(5)
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return [kind for kind, _ in FrameReader().feed(data)]


def test_the_end_of_a_run_is_told_to_who_waits_and_not_to_who_follows_the_log() -> None:
    first = _process("0.05")
    session = Session(pidfd_open(first.pid), Stdio(), drain=0.1)
    ends = [socket.socketpair() for _ in range(2)]
    waiting, watching = (Client(theirs) for _, theirs in ends)
    watching.watching = True
    for client in (waiting, watching):
        session.add(client)
    session.run()
    first.wait()
    session.end_run(3)
    assert _kinds(ends[0][0]) == [Kind.EXIT]
    second = _process("0.05")
    session.next_run(pidfd_open(second.pid), Stdio(), None)
    assert watching.open
    session.run()
    second.wait()
    session.finish(4)
    assert _kinds(ends[1][0]) == [Kind.EXIT]
    for ours, _ in ends:
        ours.close()


def test_a_wait_between_runs_ends_at_its_time_or_when_a_stop_is_asked_for() -> None:
    process = _process("0")
    session = Session(pidfd_open(process.pid), Stdio(), drain=0.1)
    session.run()
    process.wait()
    session.end_run(0)
    began = time.monotonic()
    session.idle(began + 0.2)
    assert 0.2 <= time.monotonic() - began < 2
    ours, theirs = socket.socketpair()
    session.add(Client(theirs))
    ours.sendall(frame(Kind.STOP, b"\1"))
    session.idle(time.monotonic() + 3600)
    assert session.stop_asked
    assert session.stopped_by_hand
    session.finish(0)
    assert _kinds(ours) == [Kind.ATTACHED, Kind.EXIT]
    ours.close()


def test_a_restart_signals_then_kills_and_is_answered_by_the_next_run() -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    session = Session(pidfd_open(stubborn.pid), Stdio(), drain=0.1)
    ours, theirs = socket.socketpair()
    session.add(Client(theirs))
    ours.sendall(frame(Kind.RESTART, restart_payload(15, 0)))
    session.run()
    assert stubborn.wait() == -9
    stubborn.stdout.close()
    assert session.restart_asked
    session.end_run(137)
    following = _process("0")
    session.next_run(pidfd_open(following.pid), Stdio(), None)
    session.answer_restart()
    session.run()
    following.wait()
    session.finish(0)
    assert _kinds(ours) == [Kind.STARTED]
    ours.close()


def _given(session: Session) -> tuple[socket.socket, socket.socket]:
    """A client that has sent one end of a connection to be held, and the other end."""
    ours, theirs = socket.socketpair()
    session.add(Client(theirs))
    far, kept = socket.socketpair()
    socket.send_fds(ours, frame(Kind.HOLD), [kept.fileno()])
    kept.close()
    far.setblocking(False)
    return ours, far


def test_what_a_client_gives_is_held_for_as_long_as_the_run_lasts_and_not_by_the_next() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    session = Session(pidfd_open(process.pid), Stdio(), drain=0.1)
    ours, far = _given(session)
    running = threading.Thread(target=session.run)
    running.start()
    ours.settimeout(30)
    assert [kind for kind, _ in FrameReader().feed(ours.recv(64))] == [Kind.HELD]
    with pytest.raises(BlockingIOError):
        far.recv(1)
    process.stdin.close()
    running.join()
    process.wait()
    session.release()
    assert far.recv(1) == b""
    session.end_run(0)
    later, refused = _given(session)
    session.idle(time.monotonic() + 0.05)
    assert refused.recv(1) == b"" and later.recv(64) == b""
    session.finish(0)
    for end in (ours, far, later, refused):
        end.close()
