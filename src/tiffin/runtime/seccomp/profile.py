"""Reads a seccomp profile and resolves it for one machine and one set of capabilities.

Two spellings are read: Docker's profile format (`archMap`, `includes`, `excludes`, `errnoRet`) and the
`seccomp` object of the OCI runtime specification (config-linux, "Seccomp"). What is resolved is, per
architecture, the rules of each system call number. Semantics, those of libseccomp where it has any:

- a rule's argument conditions must all hold, also where two of them name one argument;
- rules of one call are alternatives, tried in the profile's order; one without conditions counts last;
- calls that no rule names get the default action, except that numbers unknown to `syscalls.tsv` get ENOSYS
  when the default denies: a program then takes the kernel for an old one and falls back.

Pure: reads no file but the table beside it. Not imported when the compiled filter is cached.
"""

import errno
import json
import os

from tiffin.errors import InvalidArgument
from tiffin.typed import Any, NamedTuple

RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_TRACE = 0x7FF00000
RET_NOTIFY = 0x7FC00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000

_ACTIONS = {
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": RET_TRAP,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_TRACE": RET_TRACE,
    "SCMP_ACT_NOTIFY": RET_NOTIFY,
    "SCMP_ACT_LOG": RET_LOG,
    "SCMP_ACT_ALLOW": RET_ALLOW,
}
_DENYING = (RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP, RET_ERRNO)
_OPERATORS = ("EQ", "NE", "LT", "LE", "GE", "GT", "MASKED_EQ")
_MAX_ERRNO = 4095
_NO_SUCH_CALL = RET_ERRNO | errno.ENOSYS

# The columns of syscalls.tsv, and the AUDIT_ARCH_* value by which a filter knows them.
AUDIT_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
_SCMP_ARCH = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
_DOCKER_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


class Condition(NamedTuple):
    """One condition on an argument. `width` is 64, or 32 when the kernel reads the argument as an int: the
    filter then ignores the register's upper half as the kernel does. For MASKED_EQ: argument & value ==
    datum."""

    argument: int
    operator: str
    value: int
    datum: int = 0
    width: int = 64


class Rule(NamedTuple):
    """`action` is the filter's return value; no conditions: always."""

    action: int
    conditions: tuple[Condition, ...] = ()


class ArchFilter(NamedTuple):
    """What one architecture answers. `calls` holds every number of its table; the last rule of each has no
    conditions. Other numbers get `unknown`."""

    audit_arch: int
    calls: dict[int, tuple[Rule, ...]]
    unknown: int


class _Parsed(NamedTuple):
    names: list[str]
    rule: Rule


def resolve(
    text: bytes, machine: str, capabilities: frozenset[str], kernel: tuple[int, int]
) -> list[ArchFilter]:
    """The filters of `machine` ("x86_64", "aarch64"), native architecture first. `capabilities` are the names
    that the container's bounding set holds. Raises InvalidArgument."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"seccomp profile is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument("seccomp profile must be a JSON object")
    default = _action(document.get("defaultAction"), document.get("defaultErrnoRet"))
    rules = [
        _Parsed(_names(entry), Rule(_action(entry.get("action"), entry.get("errnoRet")), _conditions(entry)))
        for entry in _list(document.get("syscalls") or [], "syscalls")
        if _applies(entry, _DOCKER_ARCH.get(machine, machine), capabilities, kernel)
    ]
    unknown = _NO_SUCH_CALL if default & 0xFFFF0000 in _DENYING else default
    tables = read_tables()
    return [
        ArchFilter(AUDIT_ARCH[arch], _calls(tables[arch], rules, default), unknown)
        for arch in _architectures(document, machine)
    ]


def specification(text: bytes, capabilities: frozenset[str]) -> dict[str, Any]:
    """The profile as the `linux.seccomp` of a runtime-spec document, resolved for this machine: what another OCI
    runtime is given. Raises InvalidArgument."""
    system = os.uname()
    major, _, minor = system.release.partition(".")
    kernel = int(major), int("".join(c for c in minor.partition(".")[0] if c.isdecimal()) or 0)
    resolve(text, system.machine, capabilities, kernel)  # for its checks
    document = json.loads(text)
    names = [name for name, arch in _SCMP_ARCH.items() if arch in _architectures(document, system.machine)]
    made: dict[str, Any] = {"defaultAction": document["defaultAction"], "architectures": names}
    if document.get("defaultErrnoRet") is not None:
        made["defaultErrnoRet"] = document["defaultErrnoRet"]
    kept = ("action", "errnoRet", "args")
    made["syscalls"] = [
        {"names": _names(entry), **{key: _plain(entry[key]) for key in kept if entry.get(key) is not None}}
        for entry in document.get("syscalls") or ()
        if _applies(entry, _DOCKER_ARCH.get(system.machine, system.machine), capabilities, kernel)
    ]
    return made


def _plain(value: Any) -> Any:
    """Arguments without the width that only this engine's profiles have."""
    if not isinstance(value, list):
        return value
    return [{key: part for key, part in argument.items() if key != "width"} for argument in value]


def read_tables() -> dict[str, dict[str, int]]:
    """Architecture → call name → number."""
    with open(f"{os.path.dirname(__file__)}/syscalls.tsv", encoding="ascii") as file:
        lines = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    return {
        arch: {line[0]: int(line[column]) for line in lines[1:] if line[column] != "-"}
        for column, arch in enumerate(lines[0])
        if column
    }


def _calls(table: dict[str, int], rules: list[_Parsed], default: int) -> dict[int, tuple[Rule, ...]]:
    conditional: dict[int, list[Rule]] = {number: [] for number in table.values()}
    final: dict[int, Rule] = {}
    for names, rule in rules:
        for name in names:
            number = table.get(name)
            if number is None:
                continue
            if rule.conditions:
                conditional[number].append(rule)
            elif final.setdefault(number, rule).action != rule.action:
                raise InvalidArgument(
                    f"seccomp profile gives {name} two actions without conditions; keep one"
                )
    return {number: (*chain, final.get(number, Rule(default))) for number, chain in conditional.items()}


def _architectures(document: dict[str, Any], machine: str) -> list[str]:
    native = _NATIVE.get(machine)
    if native is None:
        raise InvalidArgument(f"seccomp filters are not known for {machine}; run with seccomp=unconfined")
    listed: list[str] = [native]
    for entry in _list(document.get("archMap") or [], "archMap"):
        if entry.get("architecture") == native:
            listed += entry.get("subArchitectures") or []
    listed += document.get("architectures") or []
    # Architectures that this machine cannot run are harmless; x32 is never let through.
    names = [_SCMP_ARCH[name] for name in listed if name in _SCMP_ARCH]
    family = ("x86_64", "i386") if machine == "x86_64" else ("aarch64", "arm")
    return [name for name in family if name in names]


def _applies(entry: dict[str, Any], arch: str, capabilities: frozenset[str], kernel: tuple[int, int]) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    for clause in (includes, excludes):
        unknown = set(clause) - {"caps", "arches", "minKernel"}
        if unknown:
            raise InvalidArgument(f"seccomp profile: unknown condition {min(unknown)!r}")
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if arch in (excludes.get("arches") or ()):
        return False
    if not capabilities.issuperset(includes.get("caps") or ()):
        return False
    if not capabilities.isdisjoint(excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: Any) -> tuple[int, int]:
    major, dot, minor = str(text).partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise InvalidArgument(f"seccomp profile: minKernel must be like 4.8, not {text!r}")
    return int(major), int(minor)


def _names(entry: dict[str, Any]) -> list[str]:
    names = entry.get("names") or ([entry["name"]] if entry.get("name") else [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        raise InvalidArgument("seccomp profile: every rule needs a list of names")
    return names


def _action(name: Any, value: Any) -> int:
    action = _ACTIONS.get(name)
    if action is None:
        known = ", ".join(sorted(_ACTIONS))
        raise InvalidArgument(f"seccomp profile: unknown action {name!r}; known are {known}")
    if action not in (RET_ERRNO, RET_TRACE):
        return action
    number = errno.EPERM if value is None else value
    limit = _MAX_ERRNO if action == RET_ERRNO else 0xFFFF
    if type(number) is not int or not 0 <= number <= limit:
        raise InvalidArgument(f"seccomp profile: errnoRet must be 0 to {limit}, not {value!r}")
    return action | number


def _conditions(entry: dict[str, Any]) -> tuple[Condition, ...]:
    return tuple(_condition(argument) for argument in _list(entry.get("args") or [], "args"))


def _condition(argument: dict[str, Any]) -> Condition:
    operator = str(argument.get("op", "")).removeprefix("SCMP_CMP_")
    if operator not in _OPERATORS:
        raise InvalidArgument(f"seccomp profile: unknown comparison {argument.get('op')!r}")
    index = _number(argument, "index", 5)
    width = argument.get("width", 64)
    if width not in (32, 64):
        raise InvalidArgument(f"seccomp profile: width must be 32 or 64, not {width!r}")
    limit = (1 << width) - 1
    return Condition(
        index, operator, _number(argument, "value", limit), _number(argument, "valueTwo", limit), width
    )


def _number(argument: dict[str, Any], key: str, limit: int) -> int:
    value = argument.get(key, 0)
    if type(value) is not int or not 0 <= value <= limit:
        raise InvalidArgument(f"seccomp profile: {key} must be 0 to {limit}, not {value!r}")
    return value


def _list(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidArgument(f"seccomp profile: {what} must be a list of objects")
    return value
