"""A classic-BPF machine as seccomp runs it: the judge of compiled filters."""

import struct

CALLS = {"LOAD": 0x20, "AND": 0x54, "JUMP": 0x05, "JEQ": 0x15, "JGT": 0x25, "JGE": 0x35, "RETURN": 0x06}


def run(program: bytes, arch: int, number: int, args: tuple[int, ...] = ()) -> int:
    """The filter's return value for one call; fails on what the kernel's checker would refuse."""
    padded = (*args, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    assert 0 < len(code) <= 4096
    accumulator, at = 0, 0
    while True:
        op, jt, jf, k = code[at]
        at += 1
        if op == CALLS["LOAD"]:
            assert k % 4 == 0 and k < 64
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == CALLS["AND"]:
            accumulator &= k
        elif op == CALLS["JUMP"]:
            at += k
        elif op == CALLS["JEQ"]:
            at += jt if accumulator == k else jf
        elif op == CALLS["JGT"]:
            at += jt if accumulator > k else jf
        elif op == CALLS["JGE"]:
            at += jt if accumulator >= k else jf
        elif op == CALLS["RETURN"]:
            return int(k)
        else:
            raise AssertionError(f"instruction {op:#x} is not one that the compiler writes")
