"""The seccomp compiler against a BPF machine, and the default profile against Docker's."""

import errno
import json
import operator
import os
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.bpf_machine import run
from tiffin.errors import InvalidArgument
from tiffin.runtime.seccomp import load_filter, read_profile
from tiffin.runtime.seccomp.compiler import compile_filter
from tiffin.runtime.seccomp.profile import (
    AUDIT_ARCH,
    RET_ALLOW,
    RET_ERRNO,
    RET_KILL_PROCESS,
    ArchFilter,
    Condition,
    Rule,
    read_tables,
    resolve,
)

EPERM = RET_ERRNO | errno.EPERM
ENOSYS = RET_ERRNO | errno.ENOSYS
X86_64 = AUDIT_ARCH["x86_64"]
X32 = 0x40000000
KERNEL = (6, 1)
COMPARE = {
    "EQ": operator.eq,
    "NE": operator.ne,
    "LT": operator.lt,
    "LE": operator.le,
    "GE": operator.ge,
    "GT": operator.gt,
}
GOLDEN = os.path.join(os.path.dirname(__file__), "../../golden/seccomp/docker-default.json")

words = st.one_of(
    st.integers(0, 3),
    st.sampled_from([2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)


def holds(condition: Condition, value: int) -> bool:
    if condition.width == 32:
        value &= 0xFFFFFFFF
    if condition.operator == "MASKED_EQ":
        return value & condition.value == condition.datum
    return bool(COMPARE[condition.operator](value, condition.value))


def expected(arch: ArchFilter, number: int, args: tuple[int, ...]) -> int:
    for rule in arch.calls.get(number, (Rule(arch.unknown),)):
        if all(holds(condition, args[condition.argument]) for condition in rule.conditions):
            return rule.action
    raise AssertionError("the last rule of a call has no tests")


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    width = draw(st.sampled_from([32, 64]))
    value = draw(words) & ((1 << width) - 1)
    datum = draw(st.one_of(words, st.just(value))) & ((1 << width) - 1)
    kind = draw(st.sampled_from([*COMPARE, "MASKED_EQ"]))
    return Condition(draw(st.integers(0, 5)), kind, value, datum, width)


rules = st.builds(
    Rule,
    st.sampled_from([RET_ALLOW, EPERM, ENOSYS, RET_KILL_PROCESS]),
    st.lists(conditions(), max_size=3).map(tuple),
)
chains = st.lists(rules, max_size=4).map(lambda chain: (*chain, Rule(EPERM)))
arch_filters = st.builds(
    ArchFilter,
    st.just(X86_64),
    st.dictionaries(st.integers(0, 30) | st.integers(0, 2**32 - 2), chains, max_size=12),
    st.just(ENOSYS),
)


@settings(max_examples=150, deadline=None)
@given(arch_filters, st.data())
def test_the_compiled_filter_answers_as_its_rules_do(arch: ArchFilter, data: st.DataObject) -> None:
    program = compile_filter([arch])
    numbers = st.one_of(st.sampled_from([*arch.calls, 0]), st.integers(0, 2**32 - 1))
    constants = [
        condition.value for chain in arch.calls.values() for rule in chain for condition in rule.conditions
    ]
    arguments = st.one_of(words, st.sampled_from([*constants, 0]))
    for _ in range(8):
        number = data.draw(numbers)
        args = tuple(data.draw(st.tuples(*[arguments] * 6)))
        assert run(program, X86_64, number, args) == expected(arch, number, args)
    assert run(program, AUDIT_ARCH["arm"], 0) == RET_KILL_PROCESS


def test_jumps_longer_than_a_byte_reach_their_answer() -> None:
    calls = {
        number: (*(Rule(RET_ALLOW, (Condition(0, "EQ", number * 1000 + n),)) for n in range(6)), Rule(EPERM))
        for number in range(100)
    }
    arch = ArchFilter(X86_64, calls, ENOSYS)
    program = compile_filter([arch])
    for number in range(101):
        for args in ((number * 1000 + 5, 0, 0, 0, 0, 0), (7, 0, 0, 0, 0, 0)):
            assert run(program, X86_64, number, args) == expected(arch, number, args)


def test_a_filter_too_long_for_the_kernel_is_refused() -> None:
    calls = {
        n: (*(Rule(EPERM, (Condition(0, "EQ", n * 100 + m),)) for m in range(20)), Rule(RET_ALLOW))
        for n in range(90)
    }
    with pytest.raises(InvalidArgument, match="the kernel takes 4096"):
        compile_filter([ArchFilter(X86_64, calls, ENOSYS)])


def custom(*entries: Mapping[str, object], default: str = "SCMP_ACT_ERRNO") -> bytes:
    document = {
        "defaultAction": default,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}
        ],
        "syscalls": list(entries),
    }
    return json.dumps(document).encode()


def compiled(profile: bytes, caps: frozenset[str] = frozenset()) -> bytes:
    return compile_filter(resolve(profile, "x86_64", caps, KERNEL))


def test_two_not_equal_tests_of_one_rule_must_both_hold() -> None:
    entry = {
        "names": ["socket"],
        "action": "SCMP_ACT_ALLOW",
        "args": [
            {"index": 0, "value": 38, "op": "SCMP_CMP_NE"},
            {"index": 0, "value": 40, "op": "SCMP_CMP_NE"},
        ],
    }
    program = compiled(custom(entry))
    assert [run(program, X86_64, 41, (family,)) for family in (2, 38, 39, 40)] == [
        RET_ALLOW,
        EPERM,
        RET_ALLOW,
        EPERM,
    ]


def test_x32_calls_are_refused_even_when_a_profile_lists_the_architecture() -> None:
    program = compiled(custom({"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}))
    assert run(program, X86_64, 0) == RET_ALLOW
    assert run(program, X86_64, X32 | 0) == ENOSYS


def test_the_runtime_specs_own_form_is_read() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}],
    }
    program = compiled(json.dumps(document).encode())
    assert run(program, X86_64, 79) == RET_ERRNO | 5
    assert run(program, X86_64, 9999) == RET_ALLOW
    assert run(program, AUDIT_ARCH["i386"], 1) == RET_KILL_PROCESS


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (custom(default="SCMP_ACT_MAYBE"), "unknown action 'SCMP_ACT_MAYBE'"),
        (custom({"action": "SCMP_ACT_ALLOW"}), "needs a list of names"),
        (
            custom({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}),
            "errnoRet must be 0 to 4095",
        ),
        (
            custom(
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}
            ),
            "index must be 0 to 5",
        ),
        (
            custom(
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_XX"}]}
            ),
            "unknown comparison",
        ),
        (
            custom({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"moon": "full"}}),
            "unknown condition",
        ),
    ],
)
def test_a_profile_with_a_mistake_is_refused_with_the_place(profile: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiled(profile)


def docker_says(document: dict[str, Any], name: str, host: str, caps: set[str], args: tuple[int, ...]) -> int:
    """Docker's own profile, evaluated straight from the document as moby and libseccomp read it."""
    answers = set()
    for entry in document["syscalls"]:
        inc, exc = entry.get("includes", {}), entry.get("excludes", {})
        if name not in entry["names"]:
            continue
        if (inc.get("arches") and host not in inc["arches"]) or host in exc.get("arches", []):
            continue
        if not caps.issuperset(inc.get("caps", [])) or caps & set(exc.get("caps", [])):
            continue
        comparisons = {**{f"SCMP_CMP_{k}": v for k, v in COMPARE.items()}}
        matches = all(
            args[arg["index"]] & arg["value"] == arg.get("valueTwo", 0)
            if arg["op"] == "SCMP_CMP_MASKED_EQ"
            else comparisons[arg["op"]](args[arg["index"]], arg["value"])
            for arg in entry.get("args", [])
        )
        if matches:
            allow = entry["action"] == "SCMP_ACT_ALLOW"
            answers.add(RET_ALLOW if allow else RET_ERRNO | entry.get("errnoRet", 1))
    assert len(answers) <= 1
    return answers.pop() if answers else EPERM


@pytest.mark.parametrize(("machine", "host"), [("x86_64", "amd64"), ("aarch64", "arm64")])
@pytest.mark.parametrize(
    "caps",
    [set(), {"CAP_SYS_CHROOT", "CAP_CHOWN"}, {"CAP_SYS_ADMIN"}, {"CAP_BPF", "CAP_SYS_PTRACE", "CAP_SYSLOG"}],
)
def test_the_default_profile_answers_as_dockers_for_every_call(
    machine: str, host: str, caps: set[str]
) -> None:
    """Deliberate differences: x32 is refused, numbers that no table knows get ENOSYS, and what the upper half
    of a socket family's register holds does not count."""
    with open(GOLDEN, encoding="utf-8") as file:
        document = json.load(file)
    tables = read_tables()
    program = compile_filter(resolve(read_profile(), machine, frozenset(caps), KERNEL))
    values = [
        0,
        1,
        2,
        8,
        16,
        17,
        37,
        38,
        39,
        40,
        41,
        131072,
        131080,
        0x20000,
        0x10000000,
        0x40000000,
        0xFFFFFFFF,
    ]
    for arch in ("x86_64", "i386") if machine == "x86_64" else ("aarch64", "arm"):
        names = {number: name for name, number in sorted(tables[arch].items())}
        listed = {name for entry in document["syscalls"] for name in entry["names"]}
        for name, number in tables[arch].items():
            canonical = name if name in listed else names[number]
            for value in values:
                args = (value, 0, 0, 0, 0, 0)
                ours = run(program, AUDIT_ARCH[arch], number, args)
                theirs = docker_says(document, canonical, host, caps, args)
                assert ours == theirs, (arch, name, value)
        for number in (len(names) + 600, 9999, X32 | 1, 0xFFFFFFFF):
            assert run(program, AUDIT_ARCH[arch], number) == ENOSYS


def test_a_socket_family_hidden_by_high_register_bits_is_still_refused() -> None:
    program = compile_filter(resolve(read_profile(), "x86_64", frozenset(), KERNEL))
    assert run(program, X86_64, 41, ((1 << 32) | 38,)) == EPERM
    assert run(program, X86_64, 41, ((1 << 32) | 2,)) == RET_ALLOW


def test_a_cached_filter_is_used_and_a_damaged_one_is_made_anew(tmp_path) -> None:
    profile, caps = read_profile(), frozenset({"CAP_CHOWN"})
    first = load_filter(profile, caps, str(tmp_path))
    (cached,) = tmp_path.iterdir()
    assert load_filter(profile, caps, str(tmp_path)) == first
    cached.write_bytes(cached.read_bytes()[:-8])
    assert load_filter(profile, caps, str(tmp_path)) == first
    cached.write_bytes(b"x" * 20000)
    assert load_filter(profile, caps, str(tmp_path)) == first


def test_a_cached_filter_of_another_profile_is_never_taken(tmp_path) -> None:
    strict = custom({"names": ["read"], "action": "SCMP_ACT_ALLOW"})
    load_filter(strict, frozenset(), str(tmp_path))
    (cached,) = tmp_path.iterdir()
    other = load_filter(read_profile(), frozenset(), "")
    name = {path.name for path in tmp_path.iterdir()}
    load_filter(read_profile(), frozenset(), str(tmp_path))
    (second,) = (path for path in tmp_path.iterdir() if path.name not in name)
    second.write_bytes(cached.read_bytes())  # as if the two names had collided
    assert load_filter(read_profile(), frozenset(), str(tmp_path)) == other
