"""T37: no kernel object of the engine's is shared with a container, also with the host's network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t37_a_host_network_container_finds_no_socket_of_ours(box: Box) -> None:
    done = box.run(
        "grep -c @ /proc/net/unix; grep tiffin /proc/net/unix; cat /proc/keys | wc -c",
        host=frozenset({"network"}),
    )
    assert "tiffin" not in done.out and done.out.endswith("0\n")


def test_t37_each_container_has_a_session_keyring_of_its_own(box: Box) -> None:
    look = r"""
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(void) { printf("%ld\n", syscall(SYS_keyctl, 0, -3, 0)); return 0; }
"""
    box.compile(look, "ring")
    first, second = (int(box.run("ring", seccomp="unconfined").out) for _ in range(2))
    assert first > 0 and second > 0 and first != second


def test_t37_ipc_and_shared_memory_are_private(box: Box) -> None:
    done = box.run("tail -n +2 /proc/sysvipc/shm | wc -l; ls /dev/shm /dev/mqueue | grep -v : | grep -c .")
    assert done.out.split() == ["0", "0"]
