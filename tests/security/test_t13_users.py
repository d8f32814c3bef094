"""T13: who the process is. Overflow and parsing never give uid 0; hostile files neither hang nor swell."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.runtime.users import User, resolve_user

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
4294967296:x:0:0::/:/bin/sh
1:x:0:0::/:/bin/sh
-1:x:0:0::/:/bin/sh
app:x:1000:1001::/home/app:/bin/sh
app:x:0:0::/:/bin/sh
broken:x::0::/:
broken2:x:0x0:0::/:
huge:x:4294967296:0::/:
short:x
relative:x:7:7::tmp:/bin/sh
"""
GROUP = "root:x:0:\nstaff:x:50:app,other\nwheel:x:10:app\nempty:x::app\nbig:x:4294967297:app\n1:x:0:app\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (0,), "/root")),
        ("root", User(0, 0, (0,), "/root")),
        ("app", User(1000, 1001, (1001, 50, 10, 0), "/home/app")),
        ("1000", User(1000, 1001, (1001, 50, 10, 0), "/home/app")),
        ("app:staff", User(1000, 50, (50,), "/home/app")),
        ("app:77", User(1000, 77, (77,), "/home/app")),
        ("1", User(1, 0, (0,), "/")),
        ("2147483647", User(2147483647, 0, (0,), "/")),
        ("1234:5678", User(1234, 5678, (5678,), "/")),
        (":staff", User(0, 50, (50,), "/root")),
        ("relative", User(7, 7, (7,), "/")),
    ],
)
def test_t13_names_are_looked_up_and_digits_are_numbers(root: int, text: str, user: User) -> None:
    assert resolve_user(root, text) == user


@pytest.mark.parametrize(
    "text",
    [
        "4294967296",
        "2147483648",
        "99999999999999999999",
        "-1",
        "+1",
        "app:-1",
        "app:4294967296",
        "a\0b",
        "app:no",
        "nosuch",
        "broken",
        "broken2",
        "huge",
        "short",
        "0x0",
        "1e3",
        "\u0661",
        " ",
        "app\n",
    ],
)
def test_t13_what_is_neither_never_becomes_root(root: int, text: str) -> None:
    with pytest.raises(InvalidArgument):
        resolve_user(root, text)


def test_t13_additional_groups_are_found_once(root: int) -> None:
    assert resolve_user(root, "app", ("staff", "7", "7")).groups == (1001, 50, 10, 0, 7)
    with pytest.raises(InvalidArgument, match="unable to find group no"):
        resolve_user(root, "app", ("no",))


def test_t13_a_fifo_for_passwd_neither_hangs_nor_makes_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    os.mkfifo(tmp_path / "etc/passwd")
    for text in ("app", "1000", ""):
        with pytest.raises(InvalidArgument, match="not a regular file"):
            resolve_user(root, text)


def test_t13_a_link_stays_inside_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    (tmp_path / "etc/passwd").symlink_to("/etc/shadow-of-the-root")
    (tmp_path / "etc/shadow-of-the-root").write_text("app:x:5:6::/h:\n")
    assert resolve_user(root, "app").uid == 5
    for target in ("/proc/self/environ", "../../../../etc/passwd", "/etc/passwd"):
        (tmp_path / "etc/passwd").unlink()
        (tmp_path / "etc/passwd").symlink_to(target)
        with pytest.raises(InvalidArgument, match="unable to find user daemon"):
            resolve_user(root, "daemon")


def test_t13_a_huge_passwd_is_refused(root: int, tmp_path: Path) -> None:
    with open(tmp_path / "etc/passwd", "ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidArgument, match="larger than 10 MiB"):
        resolve_user(root, "nosuch")


def test_t13_no_files_at_all_leave_numbers(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    assert resolve_user(fd, "5:6", ("7",)) == User(
        5,
        6,
        (
            6,
            7,
        ),
        "/",
    )
    with pytest.raises(InvalidArgument, match="no matching entries in passwd file"):
        resolve_user(fd, "app")
    os.close(fd)


lines = st.lists(
    st.sampled_from([b":", b"0", b"1", b"app", b"\n", b"x", b"-", b"#", b"4294967296", b"\xff", b"root"]),
    max_size=40,
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines, st.sampled_from(["app", "root", "1", "x", "4294967296", "-", "app:1", "root:app", "#", ":app"]))
def test_t13_only_an_entry_that_says_zero_makes_root(tmp_path: Path, words: list[bytes], text: str) -> None:
    (tmp_path / "etc").mkdir(exist_ok=True)
    (tmp_path / "etc/passwd").write_bytes(b"".join(words))
    fd = os.open(tmp_path, os.O_PATH)
    try:
        user = resolve_user(fd, text)
    except InvalidArgument:
        return
    finally:
        os.close(fd)
    name = text.partition(":")[0].encode()
    zero = [line.split(b":") for line in b"".join(words).split(b"\n")]
    if user.uid == 0 and name:
        assert any(fields[0] == name and len(fields) > 3 and set(fields[2]) == {0x30} for fields in zero)
