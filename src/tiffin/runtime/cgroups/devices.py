"""Device rules of the OCI runtime specification as an eBPF program (BPF_PROG_TYPE_CGROUP_DEVICE).

The rules mean what they mean to a v1 `devices` cgroup that starts with nothing allowed: later rules override
earlier ones. So the program asks them last first; the first that decides returns. The context is
`struct bpf_cgroup_dev_ctx`: u32 access_type (access << 16 | type), u32 major, u32 minor.
"""

from __future__ import annotations

import struct

from tiffin.errors import InvalidArgument
from tiffin.typed import Any

_LOAD_WORD, _MOVE, _AND, _SHIFT_RIGHT = 0x61, 0xBF, 0x57, 0x77
_SET, _IF_EQUAL, _IF_NOT_EQUAL, _EXIT = 0xB7, 0x15, 0x55, 0x95
_TYPE, _ACCESS, _MAJOR, _MINOR, _SCRATCH = 2, 3, 4, 5, 6  # registers; r1 is the context, r0 the answer
_TYPES = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}
_ALL = 7


def device_program(rules: list[dict[str, Any]]) -> bytes:
    """The program's instructions. Raises InvalidArgument for a rule that is none."""
    code = [
        _instruction(_LOAD_WORD, _TYPE, 1, 0),
        _instruction(_MOVE, _ACCESS, _TYPE),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ACCESS, value=16),
        _instruction(_LOAD_WORD, _MAJOR, 1, 4),
        _instruction(_LOAD_WORD, _MINOR, 1, 8),
    ]
    for rule in reversed(rules):
        code += _rule(rule)
        if _matches_all(rule):
            break  # nothing before it can count, and the verifier refuses what cannot be reached
    else:
        code += _answer(False)
    return b"".join(code)


def _matches_all(rule: dict[str, Any]) -> bool:
    return (rule.get("type") or "a") == "a"


def _rule(rule: dict[str, Any]) -> list[bytes]:
    allow = bool(rule.get("allow"))
    if _matches_all(rule):
        return _answer(allow)
    kind, text = rule["type"], rule.get("access") or "rwm"
    if kind not in _TYPES or not set(text) <= set(_ACCESSES):
        raise InvalidArgument(f"invalid device rule: {rule!r}")
    access = sum(_ACCESSES[letter] for letter in set(text))
    tests: list[tuple[int, int, int]] = [(_IF_NOT_EQUAL, _TYPE, _TYPES[kind])]
    tests += [
        (_IF_NOT_EQUAL, register, number)
        for register, number in ((_MAJOR, rule.get("major")), (_MINOR, rule.get("minor")))
        if number is not None and number >= 0
    ]
    prepare: list[bytes] = []
    if access != _ALL or not allow:
        # Allowing: all that is asked must be among what the rule names. Denying: any of it is enough.
        asked = _ALL & ~access if allow else access
        prepare = [_instruction(_MOVE, _SCRATCH, _ACCESS), _instruction(_AND, _SCRATCH, value=asked)]
        tests.append((_IF_NOT_EQUAL if allow else _IF_EQUAL, _SCRATCH, 0))
    length = len(tests) + 2
    body = [
        _instruction(code, register, offset=length - at - 1, value=number)
        for at, (code, register, number) in enumerate(tests)
    ]
    if prepare:
        # The scratch register is filled before all tests, so that their jumps stay simple.
        body = prepare + body
    return body + _answer(allow)


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_SET, 0, value=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, target | source << 4, offset, value)
