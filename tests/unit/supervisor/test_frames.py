"""Frames, jobs and failures survive the wire; what is no frame is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiffin.errors as errors
from tiffin.supervisor import failure, jobs
from tiffin.supervisor.frames import (
    MAX_PAYLOAD,
    FrameReader,
    Kind,
    exit_code,
    exit_payload,
    frame,
    size_payload,
    terminal_size,
)

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=200)), max_size=8)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 50), max_size=40))
def test_frames_arrive_whole_however_they_are_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in frames)
    reader = FrameReader()
    got = []
    for size in [*cuts, len(data)]:
        got += list(reader.feed(data[:size]))
        data = data[size:]
    assert got == frames


def test_the_header_is_dockers() -> None:
    assert frame(Kind.STDERR, b"abc") == b"\x02\x00\x00\x00\x00\x00\x00\x03abc"


def test_a_frame_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(errors.Corrupt):
        list(FrameReader().feed(b"\x01\0\0\0" + (MAX_PAYLOAD + 1).to_bytes(4, "big")))


@given(code=st.integers(0, 255), rows=st.integers(0, 65535), columns=st.integers(0, 65535))
def test_payloads(code: int, rows: int, columns: int) -> None:
    assert exit_code(exit_payload(code)) == code
    assert terminal_size(size_payload(rows, columns)) == (rows, columns)


def test_malformed_payloads_are_refused() -> None:
    for read in (exit_code, terminal_size):
        with pytest.raises(errors.Corrupt):
            read(b"123")


def test_jobs_survive_the_wire() -> None:
    start = jobs.StartJob("/root", "/run", "a" * 64, 7, 24, 80)
    run = jobs.ExecJob("/root", "/run", "a" * 64, "tiffin/a", 5, 50, {"args": ["x"]}, None, True, 3)
    assert jobs.decode(jobs.encode(start)) == start
    assert jobs.decode(jobs.encode(run)) == run


def test_errors_keep_their_class_and_text() -> None:
    for error in (errors.CommandNotFound('exec: "x"'), errors.Conflict("port taken"), errors.NoSpace("full")):
        copy = failure.decode(failure.encode(error))
        assert (type(copy), str(copy), copy.exit_code) == (type(error), str(error), error.exit_code)
    unexpected = failure.decode(failure.encode(ValueError("odd")))
    assert (type(unexpected), str(unexpected)) == (errors.EngineError, "ValueError: odd")
