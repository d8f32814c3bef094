"""T28: a container's processes learn nothing from, and gain no descriptor of, the helper that joins them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.init.harness import Box, run
from tiffin.init import message as m

pytestmark = pytest.mark.root

TRACE = 1 << 19
JOINS = 40


@pytest.fixture
def container(rootfs):
    box = Box(rootfs, "sleep", "120")
    box.ready()
    box.start()
    assert box.executed()
    yield box
    box.close()


def look_at_helper(rootfs: str, container: Box, **caps: Any) -> str:
    """What a process in the container sees of a helper that has joined and waits for its start."""
    joining = Box(rootfs, "true", join=container.pid, leak=range(20, 30))
    assert joining.ready().kind == "ready"
    look = "echo found; ls -l $p/fd $p/cwd/"
    script = f'for p in /proc/[0-9]*; do case "$(cat $p/comm)" in tiffin-init) {look};; esac; done'
    said = run(rootfs, "sh", "-c", script, join=container.pid, **caps).output
    joining.start()
    assert joining.finish().code == 0
    assert "found" in said
    return said


def test_root_in_the_container_cannot_look_into_the_joining_helper(rootfs, container):
    said = look_at_helper(rootfs, container, bounding=0)
    assert "->" not in said
    assert "ermission denied" in said


def test_even_a_tracer_finds_only_its_stdio_and_the_two_pipes(rootfs, container):
    said = look_at_helper(rootfs, container, bounding=TRACE, permitted=TRACE, effective=TRACE)
    links = dict(re.findall(r"(\d+) -> (\S+)", said))
    assert set(links) <= {"0", "1", "2", "4", "5"}
    assert all(target.startswith("pipe:") or target == "/dev/null" for target in links.values())
    assert "busybox" not in said.split("cwd/")[0]


def test_a_tracer_that_watches_many_joins_never_sees_a_descriptor_of_the_host(rootfs, container):
    script = "while [ ! -e /tmp/enough ]; do for p in /proc/[0-9]*; do ls -l $p/fd; done; done 2>&1"
    caps: dict[str, Any] = {"bounding": TRACE, "permitted": TRACE, "effective": TRACE}
    watcher = Box(
        rootfs,
        "sh",
        "-c",
        script + " | grep -- '->' | grep -v -e pipe: -e /dev/null",
        join=container.pid,
        **caps,
    )
    watcher.ready()
    watcher.start()
    for _ in range(JOINS):
        assert run(rootfs, "true", join=container.pid, leak=(20, 21)).code == 0
    with open(f"{rootfs}/tmp/enough", "w"):
        pass
    said = watcher.finish().output
    # `ls` itself, and the shell, hold /proc and the container's own files
    foreign = [line for line in said.splitlines() if not re.search(r"-> /(proc|bin|tmp)(/\S*)?$", line)]
    assert foreign == []


def test_the_first_word_is_the_child_whatever_the_flags(rootfs, container):
    box = Box(rootfs, "true", join=container.pid, flags=0)
    box.ready()
    assert [word.kind for word in box.statuses] == [m.CHILD, m.READY]
    assert box.finish().code == 0
