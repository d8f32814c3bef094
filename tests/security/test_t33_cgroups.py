"""T33: control groups are seen read-only, from the container's own as the root."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t33_release_agent_cannot_be_written(box: Box) -> None:
    done = box.run(
        "for f in /sys/fs/cgroup/*/; do echo /x > $f/release_agent; echo 1 > $f/notify_on_release; "
        "mkdir $f/below; done; mount -o remount,rw /sys/fs/cgroup; ls -d /sys/fs/cgroup/*/below; cat /proc/1/cgroup"
    )
    assert "below\n" not in done.out.replace("mkdir: can't create directory", "")
    lines = [line for line in done.out.splitlines() if line[:1].isdigit() and line.count(":") == 2]
    mine = [line for line in lines if any(word in line for word in ("memory", "pids", "devices"))]
    assert mine and all(line.endswith(":/") for line in mine)


def test_t33_a_cgroup_mount_through_a_user_namespace_is_refused(box: Box) -> None:
    done = box.run(
        "unshare -U -r -m -C true && echo made; mkdir /c; mount -t cgroup -o memory x /c && echo mounted; "
        "mount -t cgroup2 x /c && echo mounted"
    )
    assert "made" not in done.out and "mounted" not in done.out


def test_t33_limits_seen_inside_are_the_containers(box: Box) -> None:
    done = box.run("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null", pids_limit=33)
    assert done.out.strip() == "33"
