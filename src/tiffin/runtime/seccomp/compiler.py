"""Compiles resolved rules to a classic BPF program (linux/filter.h, `struct sock_filter`, 8 bytes each).

Shape of a program:

    load arch ──▶ is it ours? ──no──▶ kill the process
                    │ one section for each architecture
                    ▼
    load number ──▶ binary search over ranges of numbers with one answer ──▶ return
                                                            │ calls with argument conditions
                                                            ▼
                              rule 1 tests ─fail─▶ rule 2 tests ─fail─▶ ... ──▶ return

The kernel (5.11 and later) runs this search once for each number when the filter is installed, and afterwards
answers always-allowed calls from a bitmap; that works because numbers are decided before any argument is
loaded.
"""

import struct
from collections.abc import Sequence
from itertools import groupby

from tiffin.errors import InvalidArgument
from tiffin.runtime.seccomp.profile import RET_KILL_PROCESS, ArchFilter, Condition, Rule

Instruction = tuple[int, int, int, int]  # code, jt, jf, k
Program = list[Instruction]

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15
JGT = 0x25
JGE = 0x35
RETURN = 0x06  # BPF_RET | BPF_K

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_NUMBER, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data; both of our machines are little endian
_FAIL = -1  # a jump to the end of the rule, resolved when its length is known


def compile_filter(arches: Sequence[ArchFilter]) -> bytes:
    """The program's bytes as seccomp(2) and the helper want them. Raises InvalidArgument when it is too
    long."""
    program: Program = [(LOAD, 0, 0, _ARCH)]
    for arch in arches:
        section = _section(arch)
        program += [(JEQ, 1, 0, arch.audit_arch), (JUMP, 0, 0, len(section)), *section]
    program.append(_return(RET_KILL_PROCESS))
    if len(program) > MAX_INSTRUCTIONS:
        raise InvalidArgument(
            f"seccomp profile needs {len(program)} instructions and the kernel takes {MAX_INSTRUCTIONS}; "
            "name fewer calls with argument conditions"
        )
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _section(arch: ArchFilter) -> Program:
    return [(LOAD, 0, 0, _NUMBER), *_search(_ranges(arch))]


def _ranges(arch: ArchFilter) -> list[tuple[int, tuple[Rule, ...]]]:
    """(first number, answer) in ascending order from 0; neighbours differ."""
    unknown = (Rule(arch.unknown),)
    starts: list[tuple[int, tuple[Rule, ...]]] = [(0, unknown)]
    for number, rules in sorted(arch.calls.items()):
        if starts[-1][0] == number:
            starts.pop()
        starts += [(number, rules), (number + 1, unknown)]
    return [next(group) for _, group in groupby(starts, key=lambda start: start[1])]


def _search(ranges: list[tuple[int, tuple[Rule, ...]]]) -> Program:
    if len(ranges) == 1:
        return _answer(ranges[0][1])
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    if len(low) <= 0xFF:
        return [(JGE, len(low), 0, ranges[middle][0]), *low, *high]
    return [(JGE, 0, 1, ranges[middle][0]), (JUMP, 0, 0, len(low)), *low, *high]


def _answer(rules: tuple[Rule, ...]) -> Program:
    program: Program = []
    for rule in rules:
        body = [instruction for condition in rule.conditions for instruction in _condition(condition)]
        body.append(_return(rule.action))
        program += [
            (code, _resolve(jt, at, body), _resolve(jf, at, body), k)
            for at, (code, jt, jf, k) in enumerate(body)
        ]
        if not rule.conditions:
            break
    return program


def _resolve(jump: int, at: int, body: Program) -> int:
    return len(body) - at - 1 if jump == _FAIL else jump


def _condition(condition: Condition) -> Program:
    """Falls through to what follows when the condition holds, else jumps to _FAIL."""
    low, high = _ARGS + 8 * condition.argument, _ARGS + 8 * condition.argument + 4
    below, above = condition.value & 0xFFFFFFFF, condition.value >> 32
    if condition.operator == "MASKED_EQ":
        upper = [(LOAD, 0, 0, high), (AND, 0, 0, above), (JEQ, 0, _FAIL, condition.datum >> 32)]
        lower = [(LOAD, 0, 0, low), (AND, 0, 0, below), (JEQ, 0, _FAIL, condition.datum & 0xFFFFFFFF)]
        return lower if condition.width == 32 else upper + lower
    last = {
        "EQ": (JEQ, 0, _FAIL, below),
        "NE": (JEQ, _FAIL, 0, below),
        "GT": (JGT, 0, _FAIL, below),
        "GE": (JGE, 0, _FAIL, below),
        "LT": (JGE, _FAIL, 0, below),
        "LE": (JGT, _FAIL, 0, below),
    }[condition.operator]
    lower = [(LOAD, 0, 0, low), last]
    if condition.width == 32:
        return lower
    load = (LOAD, 0, 0, high)
    holds = len(lower)  # jump over the lower half
    upper = {
        "EQ": [load, (JEQ, 0, _FAIL, above)],
        "NE": [load, (JEQ, 0, holds, above)],
        "GT": [load, (JGT, holds + 1, 0, above), (JEQ, 0, _FAIL, above)],
        "GE": [load, (JGT, holds + 1, 0, above), (JEQ, 0, _FAIL, above)],
        "LT": [load, (JGT, _FAIL, 0, above), (JEQ, 0, holds, above)],
        "LE": [load, (JGT, _FAIL, 0, above), (JEQ, 0, holds, above)],
    }[condition.operator]
    return upper + lower


def _return(value: int) -> Instruction:
    return RETURN, 0, 0, value
