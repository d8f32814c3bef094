"""What containers use, measured on containers that use something."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import time

import pytest

from tests.command import Tiffin
from tests.integration.engine.conftest import Ground
from tiffin import NotFound
from tiffin.containers import Resources
from tiffin.engine.stats import usage

pytestmark = pytest.mark.root

MIB = 1 << 20


def test_a_busy_container_shows_what_it_is_allowed(ground: Ground) -> None:
    container = ground.start("sh", "-c", "while :; do :; done", resources=Resources(nano_cpus=300_000_000))
    looks = ground.containers.stats_stream(container, interval=1.5)
    next(looks)
    _, busy = next(looks)
    assert 15 <= busy.cpu <= 45
    assert busy.pids == 1


def test_memory_is_counted_without_pages_of_files_that_could_go(ground: Ground) -> None:
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null; echo done; exec sleep 1000"
    container = ground.start("sh", "-c", script, resources=Resources(memory=100 * MIB))
    while b"done" not in ground.logs(container):
        time.sleep(0.01)
    found = usage(ground.containers.stats(container), None)
    assert 28 * MIB <= found.memory <= 50 * MIB
    assert found.memory_limit == 100 * MIB
    assert found.memory_percent == pytest.approx(found.memory / MIB, abs=0.01)


def test_without_a_limit_the_machines_memory_is_the_limit(ground: Ground) -> None:
    found = usage(ground.containers.stats(ground.start("sleep", "100")), None)
    assert found.memory_limit == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_container_that_does_not_run_uses_nothing(ground: Ground) -> None:
    container = ground.create("true")
    sample = ground.containers.stats(container)
    assert not sample.running
    assert usage(sample, None) == (0.0, 0, 0, 0.0, 0, 0, 0, 0, 0)
    assert [look.id for look in ground.containers.all_stats()] == []
    assert [look.id for look in ground.containers.all_stats(show_all=True)] == [container]
    with pytest.raises(NotFound, match="No such container: absent"):
        ground.containers.all_stats(["absent"])


def test_the_stream_ends_with_the_container(ground: Ground) -> None:
    container = ground.start("sleep", "100")
    looks = ground.containers.stats_stream(container, interval=0.05)
    next(looks)
    ground.containers.kill(container)
    ground.containers.wait(container)
    assert len(list(looks)) <= 2


def test_network_traffic_is_counted(ground: Ground) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        script = f"g=$(ip route | awk '/default/{{print $3}}'); head -c 5000 /dev/zero | nc $g {port}; exec sleep 1000"
        container = ground.start("sh", "-c", script, network="bridge")
        listener.settimeout(20)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(bytes(7000))
            while connection.recv(1 << 16):
                pass
    found = ground.containers.stats(container)
    assert 5000 <= found.sent < 20_000
    assert 7000 <= found.received < 20_000


def tiffin_of(ground: Ground) -> Tiffin:
    from pathlib import Path

    return Tiffin(Path(ground.root).parent)


def test_the_table_and_its_formats(ground: Ground) -> None:
    tiffin = tiffin_of(ground)
    container = ground.start("sleep", "100", name="quiet", resources=Resources(memory=64 * MIB))
    head, row = tiffin.ok("stats", "--no-stream").splitlines()
    assert head.split("  ")[0] == "CONTAINER ID"
    assert row.split()[:2] == [container[:12], "quiet"]
    found = json.loads(tiffin.ok("stats", "--no-stream", "--format", "json", "quiet"))
    assert list(found) == sorted(
        ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
    )
    assert found["MemUsage"].endswith(" / 64MiB")
    assert (found["NetIO"], found["PIDs"]) == ("0B / 0B", "1")
    full = tiffin.ok("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.Name}}")
    assert full == f"{container} quiet"
    assert tiffin.fails("stats", "--no-stream", "absent") == "tiffin: No such container: absent"


def test_on_a_terminal_it_is_written_over_itself(ground: Ground) -> None:
    ground.start("sleep", "100", name="quiet")
    ours, theirs = pty.openpty()
    shown = subprocess.Popen(
        tiffin_of(ground).argv("stats"), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    text, deadline = b"", time.monotonic() + 20
    try:
        while text.count(b"quiet") < 2:
            assert time.monotonic() < deadline, text
            if select.select([ours], [], [], 0.2)[0]:
                text += os.read(ours, 65536)
        shown.send_signal(signal.SIGINT)
        assert shown.wait(10) == 130
    finally:
        shown.kill()
        shown.wait()
        os.close(ours)
    assert b"\x1b[2J" not in text
    assert text.count(b"\x1b[H") >= 2
