"""bpf(2), as far as cgroup v2 needs it: load a device program, attach it to a cgroup."""

from __future__ import annotations

import struct

from tiffin.kernel.libc import SYS_BPF, call

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2

_ATTR_SIZE = 128  # longer than what is used here; the kernel wants the rest zero


def load_device_program(instructions: bytes) -> int:
    """Load a BPF_PROG_TYPE_CGROUP_DEVICE program of 8-byte instructions; returns its CLOEXEC descriptor.
    OSError: EPERM without CAP_BPF and CAP_NET_ADMIN, EINVAL or EACCES when the verifier refuses it."""
    import ctypes

    code = ctypes.create_string_buffer(instructions, len(instructions))
    # The programme calls no helper that asks for a licence; the field must be a string all the same.
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attr = struct.pack(
        "<IIQQIIQII16s",
        BPF_PROG_TYPE_CGROUP_DEVICE,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
        b"tiffin_devices",
    ).ljust(_ATTR_SIZE, b"\0")
    return call(SYS_BPF, BPF_PROG_LOAD, attr, len(attr))


def attach_to_cgroup(cgroup_fd: int, program_fd: int) -> None:
    """Attach a device program beside those that an ancestor has; a device access must pass them all. The
    cgroup keeps the program: the descriptor may be closed."""
    attr = struct.pack("<IIII", cgroup_fd, program_fd, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
    attr = attr.ljust(_ATTR_SIZE, b"\0")
    call(SYS_BPF, BPF_PROG_ATTACH, attr, len(attr))
