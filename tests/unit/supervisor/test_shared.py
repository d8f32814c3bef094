"""Devices and block limits as the specification has them."""

import os
import stat
from pathlib import Path

import pytest

from tiffin.containers import Container, ContainerRecord, Device, Resources
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.kernel.process import process_start_time
from tiffin.supervisor.shared import _devices, _kinds, _rule, block_limits, open_namespace


def test_a_device_is_described_by_its_node() -> None:
    status = os.stat("/dev/null")
    ((path, kind, major, minor, mode, uid, gid, access),) = _devices((Device("/dev/null", "/dev/n", "r"),))
    assert (path, kind, major, minor, access) == ("/dev/n", "c", 1, 3, "r")
    assert (mode, uid, gid) == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def test_a_link_to_a_device_is_that_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    ((path, _, major, minor, *_),) = _devices((Device(f"{tmp_path}/link", "/dev/z"),))
    assert (path, major, minor) == ("/dev/z", 1, 5)


def test_a_directory_gives_its_devices_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/dev/zero")
    assert list(_devices((Device(str(tmp_path), "/dev/d"),))) == []
    found = [path for path, *_ in _devices((Device("/dev", "/dev/all"),))]
    assert "/dev/all/null" in found
    assert not [path for path in found if path.startswith(("/dev/all/pts", "/dev/all/shm"))]


@pytest.mark.parametrize(("path", "kind"), [("/dev/absent", NotFound), ("/etc/passwd", InvalidArgument)])
def test_what_is_no_device_is_refused(path: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f'error gathering device information while adding custom device "{path}"'):
        list(_devices((Device(path, "/dev/x"),)))


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("c 1:3 rwm", [{"allow": True, "type": "c", "access": "rwm", "major": 1, "minor": 3}]),
        ("b 8:* r", [{"allow": True, "type": "b", "access": "r", "major": 8}]),
        (
            "a *:* m",
            [{"allow": True, "type": "c", "access": "m"}, {"allow": True, "type": "b", "access": "m"}],
        ),
    ],
)
def test_rules_of_the_device_cgroup(text: str, rules: list[dict[str, object]]) -> None:
    assert [_rule(text, kind) for kind in _kinds(text)] == rules


def test_a_namespace_of_a_recycled_pid_is_not_joined() -> None:
    record = ContainerRecord("a" * 64, "x", "image", "image", 0, ("true",))
    me = Container(record, "x", "running", os.getpid(), process_start_time(os.getpid()))
    os.close(open_namespace(me, "ipc"))
    for stranger in (me._replace(pid_start=me.pid_start + 1), me._replace(pid=0x7FFFFFF0)):
        with pytest.raises(Conflict, match=f"cannot join IPC of a non running container: {me.id}"):
            open_namespace(stranger, "ipc")


def test_no_block_limits_are_no_entry() -> None:
    assert block_limits(Resources()) == {}
    assert block_limits(Resources(blkio_weight=50)) == {"weight": 50}
    with pytest.raises(InvalidArgument, match="/dev/null is not a block device"):
        block_limits(Resources(device_read_bps=(("/dev/null", 5),)))
    with pytest.raises(NotFound, match="no such device: /dev/absent"):
        block_limits(Resources(device_write_iops=(("/dev/absent", 5),)))
