"""T35: what the default filter answers, asked by real calls, native, through int 0x80 and as x32."""

import errno
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>

static long ia32(long nr, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

int main(int argc, char **argv)
{
    long n[4] = {0};
    for (int i = 2; i < argc && i < 6; i++)
        n[i - 2] = strtoul(argv[i], 0, 0);
    long result;
    if (!strcmp(argv[1], "32")) {
        result = ia32(n[0], n[1], n[2], n[3]);
    } else {
        result = syscall(n[0] | (strcmp(argv[1], "x32") ? 0 : 0x40000000), n[1], n[2], n[3]);
        if (result < 0)
            result = -errno;
    }
    printf("%ld\n", result < 0 ? -result : 0);
    return 0;
}
"""
PERM, NOSYS, FINE = errno.EPERM, errno.ENOSYS, 0
NEWUSER = 0x10000000
CASES = [
    # name, abi, number and arguments, errno
    ("getpid", "64", (39,), FINE),
    ("io_uring_setup", "64", (425, 8, 0), PERM),
    ("io_uring_enter", "64", (426,), PERM),
    ("clone3", "64", (435, 0, 0), NOSYS),
    ("unshare(NEWUSER)", "64", (272, NEWUSER), PERM),
    ("clone(NEWUSER)", "64", (56, NEWUSER | 17), PERM),
    ("setns", "64", (308, 0, 0), PERM),
    ("socket(AF_ALG)", "64", (41, 38, 5), PERM),
    ("socket(AF_ALG) with high bits", "64", (41, (1 << 32) | 38, 5), PERM),
    ("socket(AF_VSOCK)", "64", (41, 40, 1), PERM),
    ("socket(AF_UNIX)", "64", (41, 1, 1), FINE),
    ("keyctl", "64", (250, 0, 0), PERM),
    ("add_key", "64", (248,), PERM),
    ("request_key", "64", (249,), PERM),
    ("mount", "64", (165,), PERM),
    ("bpf", "64", (321,), PERM),
    ("perf_event_open", "64", (298,), PERM),
    ("userfaultfd", "64", (323,), PERM),
    ("kexec_load", "64", (246,), PERM),
    ("open_by_handle_at", "64", (304,), PERM),
    ("personality(ADDR_NO_RANDOMIZE)", "64", (135, 0x0040000), PERM),
    ("personality(query)", "64", (135, 0xFFFFFFFF), FINE),
    ("unknown 9999", "64", (9999,), NOSYS),
    ("unknown 600", "64", (600,), NOSYS),
    ("getpid", "x32", (39,), NOSYS),
    ("unshare", "x32", (272, NEWUSER), NOSYS),
    ("ptrace", "x32", (521,), NOSYS),
    ("getpid", "32", (20,), FINE),
    ("io_uring_setup", "32", (425, 8, 0), PERM),
    ("clone3", "32", (435, 0, 0), NOSYS),
    ("unshare(NEWUSER)", "32", (310, NEWUSER), PERM),
    ("socket(AF_ALG)", "32", (359, 38, 5), PERM),
    ("keyctl", "32", (288, 0, 0), PERM),
    ("mount", "32", (21,), PERM),
    ("unknown 9999", "32", (9999,), NOSYS),
]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the table is of x86-64 numbers")
def test_t35_every_probe_gets_its_errno(box: Box) -> None:
    box.compile(PROBE, "probe")
    script = "; ".join(f"probe {abi} {' '.join(map(str, call))}" for _, abi, call, _ in CASES)
    init = box.start("sleep 100")
    for done in (box.run(script), box.exec(init, script)):
        answers = [int(line) for line in done.out.split()]
        wrong = [(*case[:2], got) for case, got in zip(CASES, answers, strict=True) if case[3] != got]
        assert wrong == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the table is of x86-64 numbers")
def test_t35_the_filter_widens_with_capabilities_and_goes_only_when_asked(box: Box) -> None:
    box.compile(PROBE, "probe")
    widened = box.run("probe 64 308 0 0", capabilities=("CAP_SYS_ADMIN",))
    assert int(widened.out) == errno.EINVAL  # setns reached the kernel
    off = box.run("probe 64 250 99 0; grep Seccomp: /proc/self/status", seccomp="unconfined")
    assert off.out.split() == [str(errno.EOPNOTSUPP), "Seccomp:", "0"]
