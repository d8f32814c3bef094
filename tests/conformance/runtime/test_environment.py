"""config.md "Mounts" and "Hooks", config-linux.md "Namespaces", "Devices" and "Control groups": what is around."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.suites.bundle import Runtime, script, sleeper
from tiffin.runtime.cgroups import detect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

Config = dict[str, Any]
V1 = pytest.mark.skipif(detect().version != 1, reason="reads the files of cgroup v1; tests/cgroup2 has v2's")


def namespace(kind: str, path: str = "") -> Callable[[Config], None]:
    entry = {"type": kind, "path": path} if path else {"type": kind}

    def change(config: Config) -> None:
        rest = [one for one in config["linux"]["namespaces"] if one["type"] != kind]
        config["linux"]["namespaces"] = [*rest, entry]

    return change


def without(kind: str) -> Callable[[Config], None]:
    return lambda c: c["linux"].update(namespaces=[n for n in c["linux"]["namespaces"] if n["type"] != kind])


def mount(destination: str, kind: str, source: str, *options: str, **more: Any) -> Callable[[Config], None]:
    entry = {"destination": destination, "type": kind, "source": source, "options": list(options), **more}
    return lambda config: config["mounts"].append(entry)


def both(*changes: Callable[[Config], object]) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for one in changes:
            one(config)

    return change


def ids(host: int, size: int = 65536) -> list[dict[str, int]]:
    return [{"containerID": 0, "hostID": host, "size": size}]


def in_userns(config: Config) -> None:
    namespace("user")(config)
    config["linux"].update(uidMappings=ids(100000), gidMappings=ids(100000))


# ---- config-linux.md, "Namespaces"


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "time", "mount"])
def test_a_namespace_that_is_listed_is_new(runtime: Runtime, kind: str) -> None:
    name = {"network": "net", "mount": "mnt"}.get(kind, kind)
    done = runtime.sh(f"readlink /proc/self/ns/{name}", namespace(kind))
    assert done.out.strip() != os.readlink(f"/proc/self/ns/{name}") and done.out.startswith(f"{name}:")


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "cgroup", "user", "time"])
def test_a_namespace_that_is_not_listed_is_the_runtimes(runtime: Runtime, kind: str) -> None:
    name = {"network": "net"}.get(kind, kind)
    done = runtime.sh(f"readlink /proc/self/ns/{name}", without(kind))
    assert done.out.strip() == os.readlink(f"/proc/self/ns/{name}")


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "time", "user"])
def test_a_namespace_with_a_path_is_joined(runtime: Runtime, kind: str) -> None:
    name = {"network": "net"}.get(kind, kind)
    first = runtime.create(both(sleeper, namespace("cgroup"), namespace("time"), in_userns), owner=100000)
    runtime.ok("start", first)
    path = f"/proc/{runtime.state(first)['pid']}/ns/{name}"
    change = namespace(kind, path)
    if kind != "user":  # the others belong to that user namespace
        change = both(namespace("user", f"/proc/{runtime.state(first)['pid']}/ns/user"), change)
    hostname = (lambda c: c.pop("hostname")) if kind == "uts" else (lambda c: None)
    done = runtime.sh(f"readlink /proc/self/ns/{name}", both(change, hostname), owner=100000)
    assert done.out.strip() == os.readlink(path), done


def test_a_user_namespace_maps_ids_and_keeps_capabilities_inside(runtime: Runtime) -> None:
    """config-linux.md, "User namespace mappings"."""
    text = "cat /proc/self/uid_map; echo $(id -u); hostname x && hostname; mkdir /tmp/a && stat -c %u /tmp/a"
    caps = ["CAP_SYS_ADMIN", "CAP_CHOWN"]
    change = both(
        in_userns,
        lambda c: c["process"].update(
            capabilities=dict.fromkeys(("bounding", "effective", "permitted"), caps)
        ),
    )
    done = runtime.sh(text, change, owner=100000)
    assert done.out.split()[:6] == ["0", "100000", "65536", "0", "x", "0"], done


def test_time_namespaces_have_their_offsets(runtime: Runtime) -> None:
    """config-linux.md, "Offset for Time Namespace"."""
    offsets = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 500, "nanosecs": 5}}
    done = runtime.sh(
        "cat /proc/uptime", both(namespace("time"), lambda c: c["linux"].update(timeOffsets=offsets))
    )
    with open("/proc/uptime") as file:
        assert abs(float(done.out.split()[0]) - float(file.read().split()[0]) - 1000000) < 100


# ---- config.md, "Mounts"

OPTIONS = [
    ("ro", "ro"), ("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"), ("noatime", "noatime"),
    ("nodiratime", "nodiratime"), ("nosymfollow", "nosymfollow"), ("relatime", "relatime"),
    ("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "shown"), OPTIONS)
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_mount_options_are_the_mounts(
    runtime: Runtime, tmp_path: Path, kind: str, word: str, shown: str
) -> None:
    (tmp_path / "source").mkdir()
    source = str(tmp_path / "source") if kind == "bind" else "tmpfs"
    more = ["rbind"] if kind == "bind" else []
    done = runtime.sh("grep ' /mnt/x ' /proc/self/mountinfo", mount("/mnt/x", kind, source, *more, word))
    assert shown in done.out.split(" - ")[0].split()[5].split(","), done


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs mounted below it."""
    (tmp_path / "tree/below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "tree/below"], check=True)
    yield tmp_path / "tree"
    subprocess.run(["umount", "-R", tmp_path / "tree/below"], check=True)


@pytest.mark.parametrize(
    ("words", "below"), [(["rbind", "ro"], "w"), (["rbind", "rro"], "ro"), (["bind"], "none")]
)
def test_ro_is_of_one_mount_rro_of_all_below(
    runtime: Runtime, tree: Path, words: list[str], below: str
) -> None:
    text = "touch /mnt/below/x 2>/dev/null && echo w || echo ro; grep -c ' /mnt/below ' /proc/self/mountinfo"
    written, mounts = runtime.sh(text, mount("/mnt", "bind", str(tree), *words)).out.split()
    assert (written, mounts) == {"w": ("w", "1"), "ro": ("ro", "1"), "none": ("w", "0")}[below]


@pytest.mark.parametrize(
    ("word", "optional"),
    [
        ("rprivate", ""),
        ("rshared", "shared:"),
        ("rslave", "master:"),
        ("runbindable", "unbindable"),
        ("private", ""),
    ],
)
def test_propagation_is_the_mounts(runtime: Runtime, tree: Path, word: str, optional: str) -> None:
    subprocess.run(["mount", "--make-shared", tree / "below"], check=True)
    change = mount("/mnt", "bind", str(tree / "below"), "rbind", word)
    fields = runtime.sh("grep ' /mnt ' /proc/self/mountinfo", change).out.split(" - ")[0].split()[6:]
    assert fields[0].startswith(optional) if optional else not fields, fields


@pytest.mark.parametrize(
    ("word", "optional"),
    [("private", ""), ("shared", "shared:"), ("slave", "master:"), ("unbindable", "unbindable")],
)
def test_the_roots_propagation_is_the_documents(
    runtime: Runtime, tree: Path, word: str, optional: str
) -> None:
    """config-linux.md, "Rootfs Mount Propagation"."""
    name, path = runtime.bundle(
        script("grep ' / / ' /proc/self/mountinfo || grep -m1 ' / ' /proc/self/mountinfo")
    )
    subprocess.run(["mount", "--make-shared", tree / "below"], check=True)
    subprocess.run(["cp", "-a", path / "rootfs", tree / "below/rootfs"], check=True)
    config = json.loads((path / "config.json").read_text())
    config["root"]["path"] = str(tree / "below/rootfs")
    config["linux"]["rootfsPropagation"] = word
    (path / "config.json").write_text(json.dumps(config))
    done = runtime("run", "--bundle", str(path), name)
    fields = done.out.split(" - ")[0].split()[6:]
    assert any(field.startswith(optional) for field in fields) if optional else not fields, done


def test_an_id_mapped_mount_shows_other_owners(runtime: Runtime, tmp_path: Path) -> None:
    """config.md, "Linux mount options": idmap; uidMappings of a mount."""
    source = tmp_path / "owned"
    source.mkdir()
    os.chown(source, 0, 0)
    mapped = {"uidMappings": ids(0, 1), "gidMappings": ids(0, 1)}
    mapped["uidMappings"][0]["hostID"] = 5000
    change = mount("/mnt", "bind", str(source), "bind", "idmap", **mapped)
    assert runtime.sh("stat -c %u:%g /mnt", change).out == "5000:0\n"


def test_an_id_mapping_without_a_range_is_the_containers(runtime: Runtime, tmp_path: Path) -> None:
    source = tmp_path / "owned"
    source.mkdir()
    (source / "file").write_text("")
    change = both(in_userns, mount("/mnt", "bind", str(source), "rbind", "ridmap"))
    done = runtime.sh("stat -c %u:%g /mnt/file; touch /mnt/new", change, owner=100000)
    assert done.out == "0:0\n" and os.stat(source / "new").st_uid == 0, done
    done = runtime.sh("true", mount("/mnt", "bind", str(source), "bind", "idmap"))
    assert done.code == 1 and "uidMappings" in done.err


def test_tmpcopyup_starts_with_what_the_mount_hides(runtime: Runtime, tmp_path: Path) -> None:
    name, path = runtime.bundle(
        both(script("cat /data/a /data/d/b; readlink /data/l; stat -c %a:%u /data /data/a; touch /data/new"),
             mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "size=1m"))
    )  # fmt: skip
    data = path / "rootfs/data"
    (data / "d").mkdir(parents=True)
    (data / "a").write_text("A")
    (data / "a").chmod(0o644)
    os.chown(data / "a", 7, 7)
    data.chmod(0o751)
    (data / "d/b").write_text("B")
    (data / "l").symlink_to("/etc/shadow")
    done = runtime("run", "--bundle", str(path), name)
    assert done.out.split() == ["AB/etc/shadow", "751:0", "644:7"] and not (data / "new").exists()


def test_unknown_filesystems_and_options_are_errors(runtime: Runtime, tmp_path: Path) -> None:
    assert "nosuchfs" in runtime.run(mount("/mnt", "nosuchfs", "x")).err
    assert "nosuchoption" in runtime.run(mount("/mnt", "tmpfs", "x", "nosuchoption")).err
    assert "nosuchoption" in runtime.run(mount("/mnt", "bind", str(tmp_path), "bind", "nosuchoption")).err
    assert "does not exist" in runtime.run(mount("/mnt", "bind", "/no/such", "bind")).err


# ---- config-linux.md, "Devices"


def test_devices_are_made_where_the_document_says(runtime: Runtime) -> None:
    listed = [
        {"path": "/dev/one", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/opt/zero", "type": "c", "major": 1, "minor": 5},
    ]
    text = "stat -c '%F %a %u:%g %t:%T' /dev/one; test -p /dev/pipe && echo pipe; head -c 3 /opt/zero | wc -c"
    done = runtime.sh(text, lambda c: c["linux"].update(devices=listed))
    assert done.out.splitlines() == ["character special file 600 3:4 1:5", "pipe", "3"], done


@V1
def test_the_allowed_device_list_is_applied_in_order(runtime: Runtime) -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "r"},
    ]
    devices = [
        {"path": "/dev/tun", "type": "c", "major": 10, "minor": 200},
        {"path": "/dev/mem", "type": "c", "major": 1, "minor": 1},
    ]
    text = (
        "head -c1 /dev/zero | wc -c; true < /dev/tun && echo in; true 2>/dev/null < /dev/mem || echo refused"
    )
    done = runtime.sh(text, lambda c: c["linux"].update(devices=devices, resources={"devices": rules}))
    assert done.out.split() == ["1", "in", "refused"], done


# ---- config-linux.md, "Control groups"

V1_LIMITS = [
    ({"memory": {"limit": 64 << 20, "reservation": 32 << 20, "swappiness": 10}},
     {"memory/memory.limit_in_bytes": str(64 << 20), "memory/memory.soft_limit_in_bytes": str(32 << 20),
      "memory/memory.swappiness": "10"}),
    ({"memory": {"disableOOMKiller": True}}, {}),
    ({"cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000}},
     {"cpu/cpu.shares": "512", "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000",
      "cpu/cpu.cfs_burst_us": "1000"}),
    ({"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0"}),
    ({"cpu": {"idle": 1}}, {"cpu/cpu.idle": "1"}),
    ({"pids": {"limit": 20}}, {"pids/pids.max": "20"}),
    ({"pids": {"limit": -1}}, {"pids/pids.max": "max"}),
]  # fmt: skip


@V1
@pytest.mark.parametrize(("resources", "files"), V1_LIMITS, ids=[str(case[0]) for case in V1_LIMITS])
def test_limits_are_in_the_cgroup_that_the_path_names(
    runtime: Runtime, resources: dict[str, Any], files: dict[str, str]
) -> None:
    name = runtime.create(both(sleeper, lambda c: c["linux"].update(resources=resources)))
    mounts = detect().v1
    for file, value in files.items():
        controller, _, setting = file.partition("/")
        with open(f"{mounts[controller]}/{runtime.parent}/{name}/{setting}") as opened:
            assert opened.read().strip() == value
    with open(f"{mounts['pids']}/{runtime.parent}/{name}/cgroup.procs") as opened:
        assert opened.read().split() == [str(runtime.state(name)["pid"])]
    runtime.ok("delete", name)
    assert not os.path.exists(f"{mounts['pids']}/{runtime.parent}/{name}")


@V1
@pytest.mark.parametrize(
    "resources",
    [{"unified": {"memory.max": "1"}}, {"memory": {"limit": 1 << 60, "swap": 1}}, {"cpu": {"cpus": "4096"}}],
)
def test_limits_that_the_machine_has_not_are_errors_or_warnings(
    runtime: Runtime, resources: dict[str, Any]
) -> None:
    done = runtime.run(lambda c: c["linux"].update(resources=resources))
    assert (done.code == 1 or "warning" in done.err) and len(done.err.splitlines()) == 1, done


def test_a_cgroup_that_others_use_is_not_taken(runtime: Runtime) -> None:
    first = runtime.create(sleeper)
    done = runtime.run(lambda c: c["linux"].update(cgroupsPath=f"/{runtime.parent}/{first}"))
    assert done.code == 1 and "in use" in done.err
    assert runtime.state(first)["status"] == "created"
    assert "systemd" in runtime.run(lambda c: c["linux"].update(cgroupsPath="a.slice:b:c")).err


# ---- config.md, "POSIX-platform Hooks"; runtime.md, "Lifecycle"


def hook(runtime: Runtime, kind: str, *, fails: bool = False, **more: Any) -> Callable[[Config], None]:
    log = runtime.directory / "hooks"
    text = f'echo "{kind} $A $(cat)" >> {log}; exit {int(fails)}'

    def change(config: Config) -> None:
        entry = {"path": "/bin/sh", "args": ["sh", "-c", text], "env": ["A=b", "PATH=/usr/bin:/bin"], **more}
        config.setdefault("hooks", {}).setdefault(kind, []).append(entry)

    return change


def ran(runtime: Runtime) -> list[tuple[str, dict[str, Any]]]:
    log = runtime.directory / "hooks"
    lines = log.read_text().splitlines() if log.exists() else []
    found = [(line.split()[0], json.loads(line.split(" ", 2)[2])) for line in lines]
    assert all(line.split()[1] == "b" for line in lines)
    return found


OUTSIDE = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")


def test_hooks_run_in_order_with_the_state(runtime: Runtime) -> None:
    inside = {"path": "/bin/sh", "args": ["sh", "-c", "/bin/cat > /tmp/state"], "env": []}
    change = both(
        lambda c: c.update(annotations={"key": "value"}, hooks={"startContainer": [inside]}),
        script("cat /tmp/state; sleep 1000"),
        *(hook(runtime, kind) for kind in OUTSIDE[::-1]),
    )
    name = runtime.create(change)
    state = runtime.state(name)
    assert [kind for kind, _ in ran(runtime)] == ["prestart", "createRuntime", "createContainer"]
    runtime.ok("start", name)
    runtime.ok("delete", "--force", name)
    found = ran(runtime)
    assert [kind for kind, _ in found] == list(OUTSIDE)
    for kind, given in found:
        assert (given["id"], given["bundle"], given["annotations"]) == (
            name,
            state["bundle"],
            {"key": "value"},
        )
        pid = {"createContainer": 1, "poststop": 0}.get(kind, state["pid"])
        status = {"poststart": "running", "poststop": "stopped"}.get(kind, "creating")
        assert (given["pid"], given["status"], given["ociVersion"]) == (pid, status, "1.3.0")


def test_a_start_container_hook_sees_what_the_container_sees(runtime: Runtime) -> None:
    hooks = {
        "startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", "/bin/cat > /tmp/state; /bin/hostname > /tmp/name"]}
        ]
    }
    done = runtime.sh("cat /tmp/state /tmp/name", lambda c: c.update(hooks=hooks))
    given = json.loads(done.out.splitlines()[0].rpartition("}")[0] + "}")
    assert (given["pid"], given["status"]) == (1, "created") and done.out.endswith("box\n")


def test_a_create_container_hook_runs_in_the_containers_namespaces_from_the_machines_files(
    runtime: Runtime,
) -> None:
    target = runtime.directory / "seen"
    text = f"readlink /proc/thread-self/ns/net > {target}; readlink /proc/thread-self/ns/mnt >> {target}"
    name = runtime.create(
        both(sleeper, lambda c: c.update(hooks={"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", text],
                                                                     "env": ["PATH=/usr/bin:/bin"]}]}))
    )  # fmt: skip
    pid = runtime.state(name)["pid"]
    assert target.read_text().split() == [
        os.readlink(f"/proc/{pid}/ns/net"),
        os.readlink(f"/proc/{pid}/ns/mnt"),
    ]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_at_create_undoes_it(runtime: Runtime, kind: str) -> None:
    change = both(hook(runtime, kind, fails=True), hook(runtime, kind), hook(runtime, "poststop"))
    name, path = runtime.bundle(change)
    done = runtime("create", "--bundle", str(path), name)
    assert done.code == 1 and kind in done.err and "exit status 1" in done.err
    assert [kind for kind, _ in ran(runtime)] == [kind, "poststop"]
    assert runtime("state", name).code == 1


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_hook_that_fails_at_start_destroys_the_container(runtime: Runtime, kind: str) -> None:
    failing = {"hooks": {kind: [{"path": "/bin/false"}]}}
    name = runtime.create(both(sleeper, lambda c: c.update(failing), hook(runtime, "poststop")))
    pid = runtime.state(name)["pid"]
    done = runtime("start", name)
    assert done.code == 1 and kind in done.err, done
    assert runtime("state", name).code == 1 and not os.path.exists(f"/proc/{pid}/root/bin")
    assert [kind for kind, _ in ran(runtime)] == ["poststop"]


def test_a_poststop_hook_that_fails_is_a_warning_and_the_others_run(runtime: Runtime) -> None:
    name = runtime.create(both(hook(runtime, "poststop", fails=True), hook(runtime, "poststop")))
    done = runtime("delete", name)
    assert done.code == 0 and "poststop hook 0" in done.err
    assert len(ran(runtime)) == 2


def test_a_hook_past_its_timeout_is_killed(runtime: Runtime) -> None:
    started = time.monotonic()
    done = runtime.run(
        lambda c: c.update(
            hooks={"prestart": [{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]}
        )
    )
    assert done.code == 1 and "did not end within 1 s" in done.err and time.monotonic() - started < 20


# ---- config-linux.md, "Network Devices"


def test_a_network_device_moves_with_its_addresses(runtime: Runtime) -> None:
    interface = f"tft{os.getpid() % 100000}"
    subprocess.run(
        ["ip", "link", "add", interface, "type", "veth", "peer", "name", f"{interface}p"], check=True
    )
    try:
        subprocess.run(["ip", "addr", "add", "10.211.7.3/29", "dev", interface], check=True)
        subprocess.run(["ip", "link", "set", interface, "up"], check=True)
        done = runtime.sh(
            "ip -o addr show dev inside; ip link show inside",
            lambda c: c["linux"].update(netDevices={interface: {"name": "inside"}}),
        )
        assert "10.211.7.3/29" in done.out and "UP" in done.out, done
        missing = runtime.run(lambda c: c["linux"].update(netDevices={"nosuch0": {}}))
        assert missing.code == 1 and "nosuch0" in missing.err
    finally:
        subprocess.run(["ip", "link", "del", interface], check=False, capture_output=True)
