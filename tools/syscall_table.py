"""Write src/tiffin/runtime/seccomp/syscalls.tsv from kernel headers.

    python tools/syscall_table.py > src/tiffin/runtime/seccomp/syscalls.tsv

Reads the unistd headers of this machine (x86), asm-generic (aarch64), and, for 32-bit arm, those that the
`ziglang` package carries. Calls newer than these headers come from `NEWER`: since number 424 the kernel
gives a new call one number on every architecture.
"""

import os
import re
import sys
from importlib.util import find_spec

X86 = "/usr/include/x86_64-linux-gnu/asm"
GENERIC = "/usr/include/asm-generic/unistd.h"

# Linux 6.5 to 6.13. What came later than the profile's list stays unknown here on purpose: unknown calls get
# ENOSYS, which programs take as "old kernel" and fall back.
NEWER = {
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
    "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "getxattrat": 464,
    "listxattrat": 465, "removexattrat": 466,
}  # fmt: skip
ONLY_X86_64 = {"uretprobe": 335}
# Entries that the generic header words for both word sizes; on a 64-bit kernel they are these.
RENAMED_ON_64 = {
    "fcntl64": "fcntl", "statfs64": "statfs", "fstatfs64": "fstatfs", "truncate64": "truncate",
    "ftruncate64": "ftruncate", "fstatat": "newfstatat",
}  # fmt: skip
ABSENT_ON_AARCH64 = (
    "arch_specific_syscall",
    "syscalls",
    "sync_file_range2",
    "clock_settime64",
    "clock_adjtime64",
)
ARM_PRIVATE = {
    "breakpoint": 0x0F0001, "cacheflush": 0x0F0002, "usr26": 0x0F0003, "usr32": 0x0F0004, "set_tls": 0x0F0005,
    "get_tls": 0x0F0006,
}  # fmt: skip


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def plain(path: str) -> dict[str, int]:
    """`#define __NR_name 12` or `(__NR_SYSCALL_BASE + 12)`; absolute numbers alone."""
    pattern = re.compile(r"^#define\s+__NR_(\w+)\s+\(?(?:__NR_SYSCALL_BASE\s*\+\s*)?(\d+)\)?\s*$", re.M)
    return {name: int(number) for name, number in pattern.findall(read(path))}


def aarch64() -> dict[str, int]:
    pattern = re.compile(r"^#define\s+__NR(3264)?_(\w+)\s+(\d+)\s*$", re.M)
    found: dict[str, int] = {}
    for wide, name, number in pattern.findall(read(GENERIC)):
        if name in ABSENT_ON_AARCH64 or name.endswith(("_time64", "gettime64", "settime64")):
            continue
        found[RENAMED_ON_64.get(name, name) if wide else name] = int(number)
    return found


def main() -> None:
    spec = find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the ziglang package is needed for the arm headers: pip install ziglang")
    arm_header = os.path.join(
        spec.submodule_search_locations[0], "lib/libc/include/arm-linux-any/asm/unistd-eabi.h"
    )
    tables = {
        "x86_64": plain(f"{X86}/unistd_64.h") | ONLY_X86_64,
        "i386": plain(f"{X86}/unistd_32.h"),
        "aarch64": aarch64(),
        "arm": plain(arm_header) | ARM_PRIVATE | {"sync_file_range2": 341},
    }
    names = sorted({name for table in tables.values() for name in table} | set(NEWER))
    print("# system call numbers by architecture, - where there is none; made by tools/syscall_table.py")
    print("name", *tables, sep="\t")
    for name in names:
        print(name, *(NEWER.get(name, table.get(name, "-")) for table in tables.values()), sep="\t")


if __name__ == "__main__":
    main()
