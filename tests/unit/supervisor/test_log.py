"""The log on disk: what is written is read back, in Docker's form, whatever the bytes."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.containers.record import LogConfig
from tiffin.supervisor.logs.files import NAME, PIECE, timestamp
from tiffin.supervisor.logs.jsonfile import JsonLog
from tiffin.supervisor.logs.reader import LogReader

ENDLESS = LogConfig(max_size=0)


def read(directory: Path) -> bytes:
    reader = LogReader(str(directory))
    data = b"".join(entry.data for entry in reader.read())
    reader.close()
    return data


def pieces(directory: Path) -> list[str]:
    return [json.loads(line)["log"] for line in (directory / NAME).read_bytes().split(b"\n")[:-1]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(chunks=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=10))
def test_text_comes_back_as_it_was(tmp_path: Path, chunks: list[str]) -> None:
    (tmp_path / NAME).unlink(missing_ok=True)
    log = JsonLog(str(tmp_path), ENDLESS)
    for chunk in chunks:
        log.write("stdout", chunk.encode())
    log.close()
    assert read(tmp_path) == "".join(chunks).encode()


def test_bytes_that_are_no_text_become_the_replacement_character(tmp_path: Path) -> None:
    log = JsonLog(str(tmp_path), ENDLESS)
    log.write("stderr", b"\xff\x00\n")
    log.close()
    assert pieces(tmp_path) == ["\ufffd\x00\n"]


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (PIECE - 1, [PIECE]),
        (PIECE, [PIECE + 1]),
        (PIECE + 1, [PIECE, 2]),
        (3 * PIECE, [PIECE, PIECE, PIECE + 1]),
    ],
)
def test_long_lines_are_cut_as_docker_cuts_them(tmp_path: Path, size: int, lengths: list[int]) -> None:
    log = JsonLog(str(tmp_path), ENDLESS)
    log.write("stdout", b"x" * size + b"\n")
    log.close()
    assert [len(piece) for piece in pieces(tmp_path)] == lengths


def test_an_unfinished_line_waits_and_has_no_newline_at_the_end(tmp_path: Path) -> None:
    log = JsonLog(str(tmp_path), ENDLESS)
    log.write("stdout", b"a\nb")
    assert pieces(tmp_path) == ["a\n"]
    log.write("stdout", b"c\nd")
    log.close()
    assert pieces(tmp_path) == ["a\n", "bc\n", "d"]


def test_the_streams_do_not_mix(tmp_path: Path) -> None:
    log = JsonLog(str(tmp_path), ENDLESS)
    log.write("stdout", b"o")
    log.write("stderr", b"e\n")
    log.write("stdout", b"ut\n")
    log.close()
    assert pieces(tmp_path) == ["e\n", "out\n"]


def test_a_line_that_a_crash_cut_is_left_out_and_the_next_is_whole(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b'{"log":"one\\n","stream":"stdout","time":"t"}\n{"log":"tw')
    assert read(tmp_path) == b"one\n"
    log = JsonLog(str(tmp_path), ENDLESS)
    log.write("stdout", b"three\n")
    log.close()
    assert read(tmp_path) == b"one\nthree\n"


def test_the_tail_spans_rotated_files(tmp_path: Path) -> None:
    log = JsonLog(str(tmp_path), LogConfig(max_size=2000, max_file=50))
    for number in range(300):
        log.write("stdout", b"%d\n" % number)
    log.close()
    for count in (0, 1, 20, 60, 300, 1000):
        reader = LogReader(str(tmp_path))
        got = b"".join(entry.data for entry in reader.skip_to_tail(count))
        assert got == b"".join(b"%d\n" % number for number in range(max(0, 300 - count), 300))
        assert list(reader.read()) == []
        reader.close()


def test_reading_on_after_growth_and_rotation_misses_nothing(tmp_path: Path) -> None:
    log = JsonLog(str(tmp_path), LogConfig(max_size=1500, max_file=20))
    reader = LogReader(str(tmp_path))
    got: list[bytes] = []
    for number in range(200):
        log.write("stdout", b"%d\n" % number)
        if number % 37 == 0:
            got += [entry.data for entry in reader.read()]
    log.close()
    got += [entry.data for entry in reader.read()]
    reader.close()
    assert got == [b"%d\n" % number for number in range(200)]


def test_times_are_rfc_3339_with_nanoseconds() -> None:
    assert timestamp(1_700_000_000_000_000_042) == "2023-11-14T22:13:20.000000042Z"
