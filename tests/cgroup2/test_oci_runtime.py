"""tiffin-runtime on unified control groups (runtime-spec, config-linux.md, "Control groups")."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cgroup2.support import MIB, setting
from tests.suites.bundle import OURS, Runtime, sleeper

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    tmp_path.chmod(0o711)
    with Runtime(OURS, tmp_path) as made:
        yield made


def with_resources(resources: dict[str, Any]) -> Any:
    def change(config: dict[str, Any]) -> None:
        sleeper(config)
        config["linux"]["resources"] = resources
        config["linux"]["namespaces"].append({"type": "cgroup"})
        config["mounts"].append(
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
        )

    return change


def test_limits_and_the_unified_map_are_in_the_cgroup(runtime: Runtime) -> None:
    resources = {
        "memory": {"limit": 64 * MIB, "swap": 64 * MIB, "reservation": 32 * MIB},
        "cpu": {"quota": 50000, "period": 100000, "shares": 1024, "idle": 0},
        "pids": {"limit": 50},
        "unified": {"memory.high": str(48 * MIB)},
    }
    name = runtime.create(with_resources(resources))
    path = f"{runtime.parent}/{name}"
    expected = {
        "memory.max": str(64 * MIB),
        "memory.swap.max": "0",
        "memory.low": str(32 * MIB),
        "memory.high": str(48 * MIB),
        "cpu.max": "50000 100000",
        "pids.max": "50",
        "cgroup.procs": str(runtime.state(name)["pid"]),
    }
    assert {key: setting(path, key) for key in expected} == expected
    runtime.ok("start", name)
    assert runtime.ok("exec", name, "cat", "/proc/self/cgroup", "/sys/fs/cgroup/pids.max").split() == [
        "0::/",
        "50",
    ]
    runtime.ok("update", "--pids-limit", "60", name)
    assert setting(path, "pids.max") == "60"
    runtime.ok("pause", name)
    assert runtime.state(name)["status"] == "paused"
    runtime.ok("delete", "--force", name)
    assert not Path("/sys/fs/cgroup", path).exists()


def test_devices_are_restricted_by_a_program(runtime: Runtime) -> None:
    rules = [{"allow": False, "access": "rwm"}]
    devices = [{"path": "/dev/mem", "type": "c", "major": 1, "minor": 1}]

    def change(config: dict[str, Any]) -> None:
        config["linux"].update(resources={"devices": rules}, devices=devices)

    done = runtime.sh("head -c1 /dev/zero | wc -c; true 2>/dev/null < /dev/mem || echo refused", change)
    assert done.out.split() == ["1", "refused"], done


def test_a_user_namespace_and_a_setting_that_there_is_not(runtime: Runtime) -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]

    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] += [{"type": "user"}, {"type": "cgroup"}]
        config["linux"].update(uidMappings=mapping, gidMappings=mapping)

    assert runtime.sh("cat /proc/self/uid_map", change, owner=100000).out.split() == ["0", "100000", "65536"]
    done = runtime.run(with_resources({"unified": {"no.such": "1"}}))
    assert done.code == 1 and "no.such" in done.err
