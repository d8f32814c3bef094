"""T26 to T31 for bundles: what a root filesystem and a container next door can do to tiffin-runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.suites.bundle import OURS, Runtime, script, sleeper

pytestmark = pytest.mark.root


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    tmp_path.chmod(0o711)
    (tmp_path / "canary").mkdir()
    with Runtime(OURS, tmp_path) as made:
        yield made
    assert os.listdir(tmp_path / "canary") == []


def prepared(runtime: Runtime, change: Any, *links: tuple[str, str]) -> tuple[str, str]:
    """A bundle in whose root these names are links to somewhere."""
    name, path = runtime.bundle(change)
    for where, target in links:
        place = path / "rootfs" / where
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    return name, str(path)


@pytest.mark.parametrize("where", ["proc", "dev", "sys"])
def test_t31_a_root_whose_system_directories_are_links_is_not_started(runtime: Runtime, where: str) -> None:
    name, path = prepared(runtime, None, (where, str(runtime.directory / "canary")))
    done = runtime("run", "--bundle", path, name)
    assert done.code == 1 and f"/{where} of the image is not a directory" in done.err


def test_t30_mount_targets_that_are_links_stay_inside(runtime: Runtime, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        script("ls /; cat /etc/passwd | head -1")(config)
        for target in ("/out", "/up/x", "/file"):
            kind = (
                {"type": "tmpfs", "source": "x"}
                if target != "/file"
                else {"type": "bind", "source": str(tmp_path / "s")}
            )
            config["mounts"].append(
                {"destination": target, "options": ["bind"] if target == "/file" else [], **kind}
            )

    (tmp_path / "s").write_text("source")
    canary = str(runtime.directory / "canary")
    name, path = prepared(
        runtime, change, ("out", canary), ("up", "../../../../../.." + canary), ("file", f"{canary}/new")
    )
    assert runtime("run", "--bundle", path, name).code == 0


def test_t31_copy_up_does_not_follow_links(runtime: Runtime) -> None:
    secret = runtime.directory / "secret"
    secret.mkdir()
    (secret / "key").write_text("nobody reads this")

    def change(config: dict[str, Any]) -> None:
        script("cat /data/key /data/inner/key; ls -l /data")(config)
        config["mounts"].append(
            {"destination": "/data", "type": "tmpfs", "source": "x", "options": ["tmpcopyup"]}
        )

    name, path = prepared(runtime, change, ("data/inner", str(secret)))
    assert "nobody reads" not in runtime("run", "--bundle", path, name).out
    name, path = prepared(runtime, change, ("data", str(secret)))
    assert "nobody reads" not in runtime("run", "--bundle", path, name).out


@pytest.mark.parametrize("number", range(3, 12))
def test_t29_a_working_directory_below_a_descriptor_is_refused(runtime: Runtime, number: int) -> None:
    cwd = f"/proc/self/fd/{number}"
    done = runtime.sh("pwd -P; ls", lambda c: c["process"].update(cwd=cwd))
    assert done.code == 1 and "canary" not in done.out
    name = runtime.create(sleeper)
    runtime.ok("start", name)
    joined = runtime("exec", "--cwd", cwd, name, "ls")
    assert joined.code == 1 and "canary" not in joined.out


def test_t26_hooks_and_users_come_from_the_machine_never_from_the_root(runtime: Runtime) -> None:
    marker = "#!/bin/sh\necho from the container > /marker\n"

    def change(config: dict[str, Any]) -> None:
        script("cat /marker 2>/dev/null; id -un")(config)
        hook = {"path": "/usr/bin/env", "args": ["env", "-u", "X", "true"], "env": ["PATH=/usr/bin:/bin"]}
        config["hooks"] = {
            kind: [hook] for kind in ("prestart", "createRuntime", "createContainer", "poststart")
        }

    name, path = runtime.bundle(change)
    for program in ("usr/bin/env", "usr/bin/true", "usr/lib/x86_64-linux-gnu/libc.so.6"):
        target = path / "rootfs" / program
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(marker)
        target.chmod(0o755)
    done = runtime("run", "--bundle", str(path), name)
    assert done.out == "root\n" and not (path / "rootfs/marker").exists(), done


def test_t27_the_command_is_executed_by_a_sealed_helper(runtime: Runtime) -> None:
    done = runtime.run(lambda c: c["process"].update(args=["/proc/self/exe"]))
    assert done.code != 0 and "python" not in done.err.lower()


def test_t28_who_shares_a_pid_and_user_namespace_never_sees_a_process_it_may_trace(runtime: Runtime) -> None:
    """A container with every right in its user namespace watches for others that come to it."""
    caps = {
        kind: ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
        for kind in ("bounding", "effective", "permitted")
    }
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    watch = (
        "while :; do for p in /proc/[0-9]*; do for f in $p/fd/*; do "
        "l=$(readlink $f 2>/dev/null) && case $l in */canary*|*/state/*|*socket*|*memfd*) "
        'echo "$p $l" >> /tmp/seen;; esac; done; done; touch /tmp/round; done'
    )

    def watcher(config: dict[str, Any]) -> None:
        script(watch)(config)
        config["process"]["capabilities"] = caps
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"].update(uidMappings=mapping, gidMappings=mapping)

    first = runtime.create(watcher, owner=100000)
    runtime.ok("start", first)
    pid = runtime.state(first)["pid"]
    rounds = runtime.directory / first / "rootfs/tmp/round"

    def beside(config: dict[str, Any]) -> None:
        config["process"]["args"] = ["true"]
        for entry in config["linux"]["namespaces"]:
            if entry["type"] == "pid":
                entry["path"] = f"/proc/{pid}/ns/pid"
        config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
        config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "sysfs"]

    for _ in range(5):
        rounds.unlink(missing_ok=True)
        done = runtime.run(beside, owner=100000)
        assert done.code == 0, done
        while not rounds.exists():
            assert runtime.state(first)["status"] == "running"
    seen = runtime.directory / first / "rootfs/tmp/seen"
    assert not seen.exists(), seen.read_text()[:1000]
    assert json.loads(runtime.ok("list", "--format", "json"))
