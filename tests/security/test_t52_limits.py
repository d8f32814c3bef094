"""T52: a fork bomb and a memory hog hit their own limits, and the engine goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t52_a_fork_bomb_stays_within_its_limit(box: Box) -> None:
    init = box.start("bomb() { bomb | bomb & }; bomb; sleep 100", pids_limit=40)
    other = box.run("echo fine")
    assert other == (0, "fine\n")
    assert 0 < init.cgroup.stats().pids <= 40
    init.destroy()
    assert not init.cgroup.exists()


def test_t52_processes_are_limited_by_default(box: Box) -> None:
    init = box.start("sleep 100")
    assert init.cgroup.stats().pids_limit == 2048


def test_t52_a_memory_hog_is_killed_and_it_is_known_why(box: Box) -> None:
    init = box.start(
        "cat /dev/zero | head -c 200000000 | tail -c 199999999 | wc -c", memory=64 << 20, memory_swap=64 << 20
    )
    init.wait()
    assert init.cgroup.oom_killed()
    assert init.cgroup.stats().memory_peak <= 64 << 20


def test_t52_shared_memory_and_dev_are_bounded(box: Box) -> None:
    done = box.run(
        "head -c 2000000 /dev/zero > /dev/shm/x || stat -c %s /dev/shm/x; "
        "head -c 70000000 /dev/zero > /dev/x || stat -c %s /dev/x",
        shm_size=1 << 20,
        memory=256 << 20,
    )
    sizes = [int(line) for line in done.out.splitlines() if line.isdigit()]
    assert len(sizes) == 2 and sizes[0] <= 1 << 20 and sizes[1] <= 64 << 20
