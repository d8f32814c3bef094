"""The document that plain options make: valid by the specification's schema, and with the defaults meant."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from tiffin.errors import InvalidArgument
from tiffin.kernel.process import CAPABILITIES
from tiffin.oci.mount import Mount
from tiffin.runtime.defaults import DEFAULT_CAPABILITIES, choose_capabilities, rlimits
from tiffin.runtime.options import parse_options
from tiffin.runtime.process import check_process
from tiffin.runtime.rootfs import check_destination
from tiffin.runtime.spec import ContainerOptions, default_spec

SCHEMA = Path(__file__).parent / "../../conformance/runtime-spec"
ALL = (1 << len(CAPABILITIES)) - 1
FULL = ContainerOptions(
    argv=["/bin/sh", "-c", "true"],
    env=["A=b"],
    user="app:staff",
    groups=["7"],
    terminal=True,
    hostname="h",
    domainname="d",
    readonly=True,
    no_new_privileges=True,
    host=frozenset({"ipc"}),
    join={"network": "/proc/1/ns/net"},
    mounts=[Mount("/data", "bind", "/srv", ("rbind", "ro")), Mount("/dev/shm", "tmpfs", "shm", ("size=1m",))],
    sysctls={"net.ipv4.ip_forward": "1"},
    rlimits=[("nofile", 10, 20)],
    devices=[("/dev/x", "c", 1, 3, 0o666, 0, 0, "rw")],
    oom_score_adj=10,
    init=True,
    memory=1 << 26,
    memory_swap=-1,
    cpu_shares=512,
    cpu_quota=50_000,
    cpu_period=100_000,
    cpuset_cpus="0",
    cpuset_mems="0",
    cpu_rt_period=1_000_000,
    cpu_rt_runtime=1000,
    memory_swappiness=0,
    oom_kill_disable=True,
    block={
        "weight": 100,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 200}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1 << 20}],
    },
    device_rules=[{"allow": True, "type": "c", "major": 10, "access": "r"}],
    annotations={"a": "b"},
    apparmor="mine",
)


def validator() -> Draft202012Validator:
    registry: Registry = Registry()
    for path in SCHEMA.glob("*.json"):
        resource = Resource.from_contents(json.loads(path.read_text()), default_specification=DRAFT4)
        registry = registry.with_resource(path.name, resource)
    return Draft202012Validator({"$ref": "config-schema.json"}, registry=registry)


@pytest.mark.parametrize(
    "options", [ContainerOptions(argv=["true"]), FULL, ContainerOptions(argv=["true"], privileged=True)]
)
def test_the_document_is_valid_by_the_specifications_schema(options: ContainerOptions) -> None:
    spec = default_spec(options)
    spec["linux"].pop("seccomp", None)  # the one addition that the schema's required keys do not allow
    assert [error.message for error in validator().iter_errors(spec)] == []
    spec["linux"]["namespaces"] = "all"
    assert list(validator().iter_errors(spec))


def test_an_ordinary_container_is_confined() -> None:
    spec = default_spec(ContainerOptions(argv=["true"]))
    linux, capabilities = spec["linux"], spec["process"]["capabilities"]
    assert {entry["type"] for entry in linux["namespaces"]} == {
        "pid",
        "ipc",
        "uts",
        "network",
        "cgroup",
        "mount",
    }
    assert capabilities["inheritable"] == capabilities["ambient"] == []
    assert capabilities["bounding"] == list(DEFAULT_CAPABILITIES) and len(DEFAULT_CAPABILITIES) == 11
    assert linux["resources"]["pids"] == {"limit": 2048}
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert "/proc/kcore" in linux["maskedPaths"] and "/proc/sys" in linux["readonlyPaths"]
    assert linux["seccomp"] == {"profile": ""}
    sysfs = next(mount for mount in spec["mounts"] if mount["destination"] == "/sys")
    assert "ro" in sysfs["options"]


def test_limits_are_said_where_the_specification_has_them() -> None:
    resources = default_spec(FULL)["linux"]["resources"]
    assert resources["memory"] == {
        "limit": 1 << 26, "swap": -1, "disableOOMKiller": True, "swappiness": 0,
    }  # fmt: skip
    assert resources["cpu"] == {
        "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0",
        "realtimePeriod": 1_000_000, "realtimeRuntime": 1000,
    }  # fmt: skip
    assert resources["blockIO"] == FULL.block
    assert resources["devices"][-1] == {"allow": True, "type": "c", "major": 10, "access": "r"}


def test_what_security_options_open_is_open() -> None:
    opened = default_spec(ContainerOptions(argv=["true"], open_paths=True, writable_cgroups=True, shm=False))
    assert opened["linux"]["maskedPaths"] == opened["linux"]["readonlyPaths"] == []
    mounts = {mount["destination"]: mount["options"] for mount in opened["mounts"]}
    assert "ro" not in mounts["/sys/fs/cgroup"] and "ro" in mounts["/sys"]
    assert "/dev/shm" not in mounts
    assert opened["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_open_files_have_a_limit_of_their_own_unless_one_is_given() -> None:
    ((name, soft, hard),) = rlimits(())
    assert (name, soft) == ("nofile", 1024) and soft <= hard <= 524288
    assert rlimits((("nofile", 5, 6),)) == (("nofile", 5, 6),)
    assert rlimits((("core", 0, 0),))[0] == ("core", 0, 0)


def test_a_privileged_container_has_nothing_hidden() -> None:
    linux = default_spec(ContainerOptions(argv=["true"], privileged=True))["linux"]
    assert linux["maskedPaths"] == linux["readonlyPaths"] == [] and "seccomp" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_a_mount_of_the_users_takes_a_default_ones_place() -> None:
    mounts = default_spec(FULL)["mounts"]
    assert [mount["options"] for mount in mounts if mount["destination"] == "/dev/shm"] == [["size=1m"]]


def test_a_shared_network_gets_no_sysctls_of_its_own() -> None:
    shared = default_spec(ContainerOptions(argv=["true"], host=frozenset({"network"})))
    assert shared["linux"]["sysctl"] == {}
    assert default_spec(FULL)["linux"]["sysctl"] == {"net.ipv4.ip_forward": "1"}


@pytest.mark.parametrize(
    ("add", "drop", "count"),
    [
        ((), (), 11),
        (("net_admin", "CAP_SYS_TIME"), (), 13),
        ((), ("chown", "CAP_KILL"), 9),
        (("ALL",), (), 41),
        (("all",), ("SYS_ADMIN",), 40),
        ((), ("ALL",), 0),
        (("KILL",), ("ALL",), 1),
        (("CHOWN",), ("CHOWN",), 11),
    ],
)
def test_capabilities_are_added_and_dropped(add: tuple[str, ...], drop: tuple[str, ...], count: int) -> None:
    choice = choose_capabilities(add, drop, available=ALL)
    assert len(choice.granted) == count and choice.missing == ()


def test_what_the_machine_lacks_is_granted_to_nobody_and_named() -> None:
    lacking = ALL & ~(1 << CAPABILITIES["CAP_SYS_RESOURCE"]) & ~(1 << CAPABILITIES["CAP_KILL"])
    choice = choose_capabilities(privileged=True, available=lacking)
    assert len(choice.granted) == 39 and choice.missing == ("CAP_KILL", "CAP_SYS_RESOURCE")
    assert choose_capabilities(available=lacking).missing == ("CAP_KILL",)
    with pytest.raises(InvalidArgument, match="unknown capability: 'FLY'"):
        choose_capabilities(["FLY"])


def test_mount_options_are_read_in_order() -> None:
    options = parse_options(["ro", "nosuid", "rw", "noatime", "rslave", "rbind", "size=1m", "flag"])
    assert options.set == 0x2 | 0x10 and options.clear & 1 and options.recursive_bind
    assert options.data == (("size", "1m"), ("flag", None)) and not options.recursive_readonly
    assert parse_options(["rbind", "ro"]).recursive_readonly
    assert not parse_options(["bind", "ro"]).recursive_readonly


@pytest.mark.parametrize(
    "destination", ["/", "//", "/a/..", "relative", "", "/a\0b", "/proc", "/proc/1", "/proc/sys/x"]
)
def test_a_mount_target_that_no_container_may_have_is_refused(destination: str) -> None:
    with pytest.raises(InvalidArgument):
        check_destination({"destination": destination, "type": "tmpfs"})


@pytest.mark.parametrize(
    ("process", "text"),
    [
        ({"args": []}, "no command"),
        ({"args": [""]}, "no command"),
        ({"args": ["a\0"]}, "null byte"),
        ({"args": ["a"], "env": ["A=\0"]}, "null byte"),
        ({"args": ["a"], "cwd": "x"}, "absolute"),
        ({"args": ["a"], "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]}, "less than or equal"),
    ],
)
def test_a_process_that_cannot_be_is_refused_before_anything_is_made(
    process: dict[str, object], text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text):
        check_process(process)
