"""What every log driver promises, and what each sends."""

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.containers.record import ContainerRecord, LogConfig
from tiffin.supervisor.logs import open_log
from tiffin.supervisor.logs.files import NAME, LineLog
from tiffin.supervisor.logs.journald import Journald
from tiffin.supervisor.logs.jsonfile import JsonLog
from tiffin.supervisor.logs.local import LocalLog
from tiffin.supervisor.logs.reader import LogReader
from tiffin.supervisor.logs.ring import Ring
from tiffin.supervisor.logs.syslog import Syslog, parse_address

DRIVERS: dict[str, Callable[[str, LogConfig], LineLog]] = {"json-file": JsonLog, "local": LocalLog}
both = pytest.mark.parametrize("driver", list(DRIVERS))


def open_driver(driver: str, where: Path, size: int = 0, files: int = 50) -> LineLog:
    return DRIVERS[driver](str(where), LogConfig(driver, max_size=size, max_file=files))


def entries(where: Path, driver: str, since: str = "", tail: int = -1) -> list[Any]:
    reader = LogReader(str(where), driver)
    try:
        if tail >= 0:
            return list(reader.skip_to_tail(tail))
        if since:
            reader.skip_to_time(since)
        return list(reader.read())
    finally:
        reader.close()


def text(found: list[Any], stream: str = "stdout") -> bytes:
    return b"".join(entry.data for entry in found if entry.stream == stream)


pieces = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=30)),
    max_size=12,
)  # fmt: skip


@both
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
)
@given(written=pieces)
def test_both_streams_come_back_as_they_were(
    tmp_path: Path, driver: str, written: list[tuple[str, str]]
) -> None:
    for name in os.listdir(tmp_path):
        (tmp_path / name).unlink()
    log = open_driver(driver, tmp_path, size=300)
    for stream, piece in written:
        log.write(stream, piece.encode())
    log.close()
    found = entries(tmp_path, driver)
    for stream in ("stdout", "stderr"):
        assert text(found, stream) == "".join(piece for s, piece in written if s == stream).encode()


def test_the_local_driver_keeps_bytes_that_are_no_text(tmp_path: Path) -> None:
    log = open_driver("local", tmp_path)
    log.write("stdout", b"\xff\x00\x1etl1\x01\n\x1etl1")
    log.close()
    assert text(entries(tmp_path, "local")) == b"\xff\x00\x1etl1\x01\n\x1etl1"


@both
def test_a_flood_of_short_lines_is_a_few_entries(tmp_path: Path, driver: str) -> None:
    log = open_driver(driver, tmp_path)
    for _ in range(10):
        log.write("stdout", b"y\n" * 32768)
    log.close()
    found = entries(tmp_path, driver)
    assert text(found) == b"y\n" * 327680 and len(found) < 200


@both
@pytest.mark.parametrize("count", [0, 1, 3, 50, 299, 300, 1000])
def test_the_tail_counts_lines_not_entries(tmp_path: Path, driver: str, count: int) -> None:
    log = open_driver(driver, tmp_path, size=4000)
    for number in range(0, 300, 3):
        log.write("stdout", b"%d\n%d\n%d\n" % (number, number + 1, number + 2))
    log.close()
    expected = b"".join(b"%d\n" % number for number in range(max(0, 300 - count), 300))
    assert text(entries(tmp_path, driver, tail=count)) == expected


@both
def test_since_reads_little_of_a_large_log(
    tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_driver(driver, tmp_path, size=1 << 20)
    moment = [1_700_000_000 * 10**9]
    monkeypatch.setattr("tiffin.supervisor.logs.files.time.time_ns", lambda: moment[0])
    for number in range(40_000):
        moment[0] += 10**9
        log.write("stdout", b"%d and some text to make it longer\n" % number)
    log.close()
    for wanted in (0, 1, 777, 20_000, 39_990, 39_999):
        since = entries(tmp_path, driver, tail=40_000 - wanted)[0].time
        found = entries(tmp_path, driver, since=since)
        kept = [entry for entry in found if entry.time >= since]
        assert text(kept).startswith(b"%d and" % wanted) and len(kept) == 40_000 - wanted
        size = os.path.getsize(tmp_path / NAME)
        assert len(found) - len(kept) < 4000, f"{len(found)} read of a log whose newest file has {size} bytes"


@both
@pytest.mark.parametrize("cut", [2, 5, 14])
def test_what_a_crash_cut_is_left_out_and_the_next_is_whole(tmp_path: Path, driver: str, cut: int) -> None:
    log = open_driver(driver, tmp_path)
    log.write("stdout", b"one\n")
    log.write("stdout", b"two, which is cut\n")
    log.close()
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-cut])
    assert text(entries(tmp_path, driver)) == b"one\n"
    log = open_driver(driver, tmp_path)
    log.write("stdout", b"three\n")
    log.close()
    assert text(entries(tmp_path, driver)) == b"one\nthree\n"


@both
def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_driver(driver, tmp_path)
    log.write("stdout", b"before\n")
    real = os.write
    full = [True]

    def write(fd: int, data: Any) -> int:
        if full[0] and fd > 2:
            real(fd, bytes(data)[:7])
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr("tiffin.supervisor.logs.files.os.write", write)
    log.write("stdout", b"lost\n")
    full[0] = False
    log.write("stdout", b"after\n")
    log.close()
    assert text(entries(tmp_path, driver)) == b"before\nafter\n"


def test_attributes_stand_where_docker_puts_them(tmp_path: Path) -> None:
    log = JsonLog(str(tmp_path), LogConfig(attributes={"team": 'bl"ue'}))
    log.write("stderr", b"x\ny\n")
    log.close()
    documents = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert [list(document) for document in documents] == [["log", "stream", "attrs", "time"]] * 2
    assert documents[0]["attrs"] == {"team": 'bl"ue'}
    assert text(entries(tmp_path, "json-file"), "stderr") == b"x\ny\n"


class Stuck:
    """A log that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.got: list[bytes] = []
        self.closed = False

    def write(self, stream: str, data: bytes) -> None:
        self.go.wait(20)
        self.got.append(data)

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_non_blocking_drops_what_a_stuck_log_does_not_take() -> None:
    stuck = Stuck()
    ring = Ring(stuck, LogConfig(buffer_size=1000))
    for number in range(100):
        ring.write("stdout", b"%099d\n" % number)
    stuck.go.set()
    ring.close()
    ring.close()
    assert stuck.closed and 10 <= len(stuck.got) <= 12
    assert [int(line) for line in stuck.got] == list(range(len(stuck.got)))


def record(driver: str, **options: str) -> ContainerRecord:
    log = LogConfig(
        driver,
        options={k.replace("_", "-"): v for k, v in options.items()},
        tag="tag",
        attributes={"a.b": "1"},
    )
    return ContainerRecord("ab" * 32, "web", "sha256:1", "img", 1, ("x",), log=log)


def test_each_driver_is_what_it_says(tmp_path: Path) -> None:
    assert open_log(str(tmp_path), record("none")) is None
    for driver, kind in (
        ("json-file", JsonLog),
        ("local", LocalLog),
        ("syslog", Syslog),
        ("journald", Journald),
    ):
        where = tmp_path / driver
        where.mkdir()
        log = open_log(str(where), record(driver, syslog_address="udp://127.0.0.1:1"))
        assert type(log) is kind
        log.close()
    log = open_log(str(tmp_path), record("local", mode="non-blocking"))
    assert isinstance(log, Ring)
    log.close()


@pytest.mark.parametrize("kind", ["unixgram", "unix", "udp", "tcp"])
def test_syslog_sends_each_line_and_keeps_it(tmp_path: Path, kind: str) -> None:
    with _server(kind, tmp_path) as (address, receive):
        log = open_log(str(tmp_path), record("syslog", syslog_address=address, syslog_facility="local0"))
        assert log is not None
        log.write("stdout", b"one\ntw")
        log.write("stdout", b"o\n")
        log.write("stderr", b"bad")
        log.close()
        got = receive(3)
    assert [line.rpartition(b": ")[2] for line in got] == [b"one", b"two", b"bad"]
    assert got[0].startswith(b"<134>") and got[2].startswith(b"<131>") and b" tag[" in got[0]
    assert text(entries(tmp_path, "syslog")) == b"one\ntwo\n"


def test_syslog_in_rfc_5424(tmp_path: Path) -> None:
    with _server("udp", tmp_path) as (address, receive):
        log = open_log(str(tmp_path), record("syslog", syslog_address=address, syslog_format="rfc5424micro"))
        assert log is not None
        log.write("stdout", b"one\n")
        log.close()
        line = receive(1)[0]
    version, when, _, name, pid, message_id, structured, message = line.split(b" ", 7)
    assert (version, name, message_id, structured, message) == (b"<30>1", b"tag", b"tag", b"-", b"one")
    assert pid.isdigit() and when.endswith(b"Z") and b"." in when


def test_a_dead_log_server_holds_nobody_back(tmp_path: Path) -> None:
    log = open_log(str(tmp_path), record("syslog", syslog_address="tcp://127.0.0.1:9"))
    assert log is not None
    for _ in range(100):
        log.write("stdout", b"line\n")
    log.close()
    assert text(entries(tmp_path, "syslog")) == b"line\n" * 100


def test_the_journal_gets_dockers_fields(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        journal.settimeout(10)
        log = Journald(LocalLog(str(tmp_path), LogConfig("journald")), record("journald"), path)
        log.write("stderr", b"hello\n")
        log.close()
        fields = dict(line.split(b"=", 1) for line in journal.recv(65536).split(b"\n") if line)
    assert (
        fields[b"MESSAGE"] == b"hello" and fields[b"PRIORITY"] == b"3" and fields[b"CONTAINER_TAG"] == b"tag"
    )
    assert (
        fields[b"CONTAINER_ID_FULL"] == b"ab" * 32
        and fields[b"CONTAINER_NAME"] == b"web"
        and fields[b"A_B"] == b"1"
    )


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("udp://h", ("udp", "h", 514)),
        ("tcp://h:1514", ("tcp", "h", 1514)),
        ("udp://[::1]:99", ("udp", "::1", 99)),
        ("unix:///dev/log", ("unix", "/dev/log", 0)),
    ],
)
def test_addresses_are_read_as_docker_reads_them(written: str, parsed: tuple[str, str, int]) -> None:
    assert parse_address(written) == parsed


class _server:
    """A log server of one kind; gives its address and a function that returns so many lines."""

    def __init__(self, kind: str, where: Path) -> None:
        self._stream = kind in ("tcp", "unix")
        family = socket.AF_UNIX if kind.startswith("unix") else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM)
        self._socket.settimeout(10)
        if family == socket.AF_UNIX:
            self._socket.bind(str(where / "s"))
            self._address = f"{kind}://{where}/s"
        else:
            self._socket.bind(("127.0.0.1", 0))
            self._address = f"{kind}://127.0.0.1:{self._socket.getsockname()[1]}"
        if self._stream:
            self._socket.listen()

    def __enter__(self) -> tuple[str, Callable[[int], list[bytes]]]:
        return self._address, self._receive

    def _receive(self, count: int) -> list[bytes]:
        if not self._stream:
            return [self._socket.recv(65536).rstrip(b"\n") for _ in range(count)]
        connection, _ = self._socket.accept()
        data = b""
        with connection:
            connection.settimeout(10)
            while data.count(b"\n") < count and (piece := connection.recv(65536)):
                data += piece
        return data.rstrip(b"\n").split(b"\n")

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_a_block_says_its_length_at_both_ends(tmp_path: Path) -> None:
    log = open_driver("local", tmp_path)
    log.write("stdout", b"abc\n")
    log.close()
    data = (tmp_path / NAME).read_bytes()
    assert data[:5] == b"\x1etl1\x01" and data[-4:] == struct.pack(">I", 4) and data[-8:-4] == b"abc\n"
