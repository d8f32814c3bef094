"""Device rules as BPF programs that a kernel has verified, loaded and run."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.cgroup2.support import run_in
from tiffin.runtime.cgroups import Cgroup

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]

NULL, ZERO, KMSG = (1, 3), (1, 5), (1, 11)


def rule(allow: bool, device: tuple[int, int], access: str = "rwm") -> dict[str, object]:
    return {"allow": allow, "type": "c", "major": device[0], "minor": device[1], "access": access}


def opens(path: str, flags: int) -> int:
    """0, or the errno of the refusal."""
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return error.errno or -1
    return 0


def test_what_no_rule_allows_cannot_be_opened(cgroup: Cgroup) -> None:
    cgroup.create({"devices": [{"allow": False, "access": "rwm"}, rule(True, NULL)]})
    assert run_in(cgroup, lambda: opens("/dev/null", os.O_RDWR)) == 0
    assert run_in(cgroup, lambda: opens("/dev/zero", os.O_RDONLY)) == errno.EPERM
    assert run_in(cgroup, lambda: opens("/dev/nvme0n1", os.O_RDONLY)) in (errno.EPERM, errno.ENOENT)
    assert opens("/dev/zero", os.O_RDONLY) == 0


def test_reading_writing_and_making_nodes_are_decided_apart(cgroup: Cgroup, tmp_path: Path) -> None:
    cgroup.create({"devices": [{"allow": False}, rule(True, NULL, "r"), rule(True, KMSG, "m")]})
    assert run_in(cgroup, lambda: opens("/dev/null", os.O_RDONLY)) == 0
    assert run_in(cgroup, lambda: opens("/dev/null", os.O_WRONLY)) == errno.EPERM
    assert run_in(cgroup, lambda: opens("/dev/null", os.O_RDWR)) == errno.EPERM

    def make(name: str, device: tuple[int, int]) -> int:
        try:
            os.mknod(tmp_path / name, stat.S_IFCHR | 0o600, os.makedev(*device))
        except PermissionError:
            return errno.EPERM
        return 0

    assert run_in(cgroup, lambda: make("kmsg", KMSG)) == 0
    assert run_in(cgroup, lambda: make("zero", ZERO)) == errno.EPERM
    assert run_in(cgroup, lambda: opens(str(tmp_path / "kmsg"), os.O_RDONLY)) == errno.EPERM


def test_a_later_rule_overrides_an_earlier_one(cgroup: Cgroup) -> None:
    everything = {"allow": True, "type": "a", "access": "rwm"}
    cgroup.create({"devices": [{"allow": False}, everything, rule(False, ZERO, "w")]})
    assert run_in(cgroup, lambda: opens("/dev/null", os.O_RDWR)) == 0
    assert run_in(cgroup, lambda: opens("/dev/zero", os.O_RDONLY)) == 0
    assert run_in(cgroup, lambda: opens("/dev/zero", os.O_RDWR)) == errno.EPERM


@pytest.mark.parametrize(
    "rules",
    [
        [{"allow": False}],
        [{"allow": True}, {"allow": False}, {"allow": True, "access": "rwm"}],
        [rule(bool(number % 2), (number % 7, -1), "rwm"[: 1 + number % 3]) for number in range(200)],
    ],
    ids=["deny all", "allow all, in the end", "many"],
)
def test_the_verifier_accepts_every_list_of_rules(cgroup: Cgroup, rules: list[dict[str, object]]) -> None:
    assert cgroup.create({"devices": rules}) == []
