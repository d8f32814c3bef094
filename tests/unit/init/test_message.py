"""The message's bytes and the status words, without a helper at the other end."""

from __future__ import annotations

import os
import struct

import pytest

from tiffin.errors import InvalidArgument
from tiffin.init import compile as build
from tiffin.init.message import (
    CHILD,
    CREATE,
    EXEC,
    FAILED,
    NEW_SESSION,
    STAGES,
    STATUS_SIZE,
    WARNING,
    Message,
    StartHook,
    Status,
    decode_status,
    read_status,
)


def test_the_bytes_are_those_that_the_helper_was_written_for():
    message = Message(
        EXEC, ("a", "bc"), env=("PATH=/x", "V=1"), flags=NEW_SESSION, join_pidfd=7, join_flags=0x20000,
        uid=1, gid=2, groups=(3, 4), umask=0o22, pdeathsig=9, bounding=1 << 40, effective=2, permitted=3,
        inheritable=4, ambient=5, cwd="/w", hostname="h", domainname="", rlimits=((7, 1024, 2**64 - 1),),
        seccomp=b"12345678", seccomp_flags=2, window=9, label="l", label_path="self/label",
        hooks=(StartHook("/h", ("h",), (), 5),), enter=(11, 12),
    )  # fmt: skip
    expected = (
        "02000000 01000000 ffffffff 07000000 00000200 01000000 02000000 12000000 09000000"
        "0000000000010000 0200000000000000 0300000000000000 0400000000000000 0500000000000000 02000000"
        "02000000 2f77 00  01000000 68 00  00000000 00  02000000 2f78 00"
        "02000000 03000000 04000000"
        "01000000 07000000 0004000000000000 ffffffffffffffff"
        "01000000 3132333435363738"
        "02000000 01000000 61 00 02000000 6263 00"
        "02000000 07000000 504154483d2f78 00 03000000 563d31 00"
        "09000000 00000000 0a000000 73656c662f6c6162656c 00 01000000 6c 00"
        "01000000 02000000 2f68 00 05000000 01000000 01000000 68 00 00000000"
        "02000000 0b000000 0c000000"
    )
    body = bytes.fromhex(expected.replace(" ", ""))
    assert message.encode() == struct.pack("<III", 0x494E4654, 3, len(body) + 12) + body


def test_path_is_the_environments_unless_given():
    base = Message(CREATE, ("x",), root_fd=9, env=("A=1", "PATH=/first", "PATH=/second"))
    assert base.encode().count(b"/first\0") == 2
    assert b"/given\0" in base._replace(path="/given").encode()


def test_names_that_are_no_utf8_go_through():
    assert b"\xff\0" in Message(CREATE, (os.fsdecode(b"\xff"),), root_fd=9).encode()


def test_the_message_is_sealed_and_read_from_its_start():
    message = Message(CREATE, ("x",), root_fd=9)
    fd = message.open()
    try:
        assert not os.get_inheritable(fd)
        with pytest.raises(PermissionError):
            os.write(fd, b"x")
        assert os.read(fd, 1 << 16) == message.encode()
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"args": ()}, "no command specified"),
        ({"args": ("a\0b",)}, "null byte"),
        ({"hostname": "a\0b"}, "null byte"),
        ({"cwd": "relative"}, "not absolute"),
        ({"uid": -1}, "within 0-2147483647"),
        ({"gid": 2**31}, "within 0-2147483647"),
        ({"umask": -1}, "out of range"),
        ({"groups": (2**32,)}, "out of range"),
        ({"seccomp": b"123"}, "8-byte instructions"),
        ({"args": ("x" * (9 << 20),)}, "the limit is 8388608"),
    ],
)
def test_what_cannot_be_meant_is_one_line_that_says_so(change, said):
    with pytest.raises(InvalidArgument, match=said) as caught:
        Message(CREATE, ("x",), root_fd=9)._replace(**change).encode()
    assert "\n" not in str(caught.value)


def test_status_words_are_decoded_by_name():
    assert decode_status(struct.pack("<IIi", 2, 0, 1234)) == Status(CHILD, "", 1234)
    assert decode_status(struct.pack("<IIi", 3, STAGES.index("exec"), 2)) == Status(FAILED, "exec", 2)
    assert decode_status(struct.pack("<IIi", 4, STAGES.index("rlimit"), 7)) == Status(WARNING, "rlimit", 7)


@pytest.mark.parametrize(
    "word", [b"", b"\0" * 11, b"\0" * 12, struct.pack("<IIi", 6, 0, 0), struct.pack("<IIi", 3, 99, 0)]
)
def test_what_the_helper_never_wrote_is_no_status(word):
    with pytest.raises(ValueError, match="status word"):
        decode_status(word)


def test_words_are_read_whole_and_their_end_is_told():
    reader, writer = os.pipe()
    word = struct.pack("<IIi", 1, 0, 0)
    os.write(writer, word + word[:5])
    os.close(writer)
    assert read_status(reader) == Status("ready", "", 0)
    with pytest.raises(ValueError, match=f"{STATUS_SIZE} bytes"):
        read_status(reader)
    assert read_status(reader) is None
    os.close(reader)


def test_the_stages_are_those_of_the_helper():
    with open(os.path.join(build.HERE, "tiffin-init.c")) as file:
        block = file.read().split("enum stage {")[1].split("};")[0]
    stages = [word.strip() for word in block.split(",") if word.strip()]
    assert ["STAGE_NONE", *(f"STAGE_{stage.upper()}" for stage in STAGES[1:])] == stages
