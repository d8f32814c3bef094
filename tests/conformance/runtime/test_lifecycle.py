"""runtime.md: operations, states and errors; features.md; the command line's ways."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from tests.signals import await_trap
from tests.suites.bundle import Runtime, script, sleeper

pytestmark = pytest.mark.root
SCHEMAS = Path(__file__).parent.parent / "runtime-spec"


def test_a_container_is_created_started_killed_and_deleted(runtime: Runtime, tmp_path: Path) -> None:
    name = runtime.create(sleeper, "--pid-file", str(tmp_path / "pid"))
    state = runtime.state(name)
    assert (state["status"], state["id"], state["ociVersion"]) == ("created", name, "1.3.0")
    assert state["bundle"] == str(runtime.directory / name)
    assert int((tmp_path / "pid").read_text()) == state["pid"]
    assert "is not stopped" not in runtime("state", name).err
    runtime.ok("start", name)
    assert runtime.state(name)["status"] == "running"
    assert Path(f"/proc/{state['pid']}/cmdline").read_bytes() == b"sleep\0001000\0"
    refused = runtime("delete", name)
    assert refused.code == 1 and f"cannot delete container {name} that is not stopped: running" in refused.err
    runtime.ok("kill", name, "KILL")
    assert runtime.wait(name, "stopped")["pid"] == 0
    runtime.ok("delete", name)
    assert runtime("state", name).code == 1


def test_nothing_of_the_command_runs_before_start(runtime: Runtime) -> None:
    name = runtime.create(script("echo x > /tmp/ran"))
    assert not (runtime.directory / name / "rootfs/tmp/ran").exists()
    runtime.ok("start", name)
    runtime.wait(name, "stopped")
    assert (runtime.directory / name / "rootfs/tmp/ran").exists()


def test_changes_of_the_configuration_after_create_have_no_effect(runtime: Runtime) -> None:
    name = runtime.create(script("echo first > /tmp/said; sleep 1000"))
    path = runtime.directory / name / "config.json"
    config = json.loads(path.read_text())
    config["process"]["args"] = ["sh", "-c", "echo second > /tmp/said"]
    config["hostname"] = "changed"
    path.write_text(json.dumps(config))
    runtime.ok("start", name)
    assert runtime.ok("exec", name, "hostname") == "box\n"
    assert (runtime.directory / name / "rootfs/tmp/said").read_text() == "first\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["state", "nosuch"], "container does not exist"),
        (["start", "nosuch"], "container does not exist"),
        (["kill", "nosuch"], "container does not exist"),
        (["delete", "nosuch"], "container does not exist"),
        (["pause", "nosuch"], "container does not exist"),
        (["exec", "nosuch", "true"], "container does not exist"),
        (["create", "a/b"], "invalid id format"),
        (["create", ".."], "invalid id format"),
        (["state"], "wants"),
        (["start", "a", "b"], "wants"),
        (["create", "--no-pivot", "x"], "--no-pivot"),
        (["nosuch"], "no such command"),
        (["create", "--nosuch", "x"], "flag provided but not defined: -nosuch"),
        (["--systemd-cgroup", "list"], "cgroupfs"),
        (["--log-format", "xml", "list"], "log-format"),
        (["kill", "x", "NOSIG"], "unknown signal"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_exit_1(runtime: Runtime, words: list[str], text: str) -> None:
    done = runtime(*words)
    assert (done.code, done.out) == (1, "") and text in done.err and len(done.err.splitlines()) == 1


def test_delete_force_of_a_missing_container_is_fine(runtime: Runtime) -> None:
    runtime.ok("delete", "--force", "nosuch")


def test_an_id_is_used_once_at_a_time(runtime: Runtime) -> None:
    name = runtime.create(sleeper)
    done = runtime("create", "--bundle", str(runtime.directory / name), name)
    assert done.code == 1 and "container with given ID already exists" in done.err
    assert runtime.state(name)["status"] == "created"


def test_what_was_started_is_not_started_again(runtime: Runtime) -> None:
    name = runtime.create(sleeper)
    runtime.ok("start", name)
    assert "cannot start an already running container" in runtime("start", name).err
    runtime.ok("kill", name, "9")
    runtime.wait(name, "stopped")
    assert "cannot start a container that has stopped" in runtime("start", name).err
    assert "container not running" in runtime("kill", name).err


def test_a_created_container_can_be_deleted(runtime: Runtime) -> None:
    name = runtime.create(sleeper)
    pid = runtime.state(name)["pid"]
    runtime.ok("delete", name)
    assert not os.path.exists(f"/proc/{pid}/root/bin")


def test_a_missing_command_is_found_out_at_create(runtime: Runtime) -> None:
    for command, text in (
        ("nosuch", "executable file not found in $PATH"),
        ("/no/such", "no such file or directory"),
    ):
        name, path = runtime.bundle(lambda c, command=command: c["process"].update(args=[command]))  # type: ignore[misc]
        done = runtime("create", "--bundle", str(path), name)
        assert done.code == 127 and text in done.err
        assert runtime("state", name).code == 1


def test_signals_have_names_and_numbers(runtime: Runtime) -> None:
    name = runtime.create(
        script('for s in USR1 USR2 HUP; do trap "echo $s >> /tmp/got" $s; done; while :; do sleep 0.05; done')
    )
    runtime.ok("start", name)
    got = runtime.directory / name / "rootfs/tmp/got"
    for trapped in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        await_trap(runtime.state(name)["pid"], trapped)
    for number, word in enumerate(("SIGUSR1", "usr2", str(int(signal.SIGHUP)))):
        runtime.ok("kill", name, word)
        while not got.exists() or len(got.read_text().split()) <= number:
            assert runtime.state(name)["status"] == "running"
    assert got.read_text().split() == ["USR1", "USR2", "HUP"]
    runtime.ok("kill", "--all", name, "KILL")
    runtime.wait(name, "stopped")


def test_exec_runs_another_process_and_ends_as_it_does(runtime: Runtime, tmp_path: Path) -> None:
    name = runtime.create(sleeper)
    runtime.ok("start", name)
    assert runtime.ok(
        "exec",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        "--user",
        "5:6",
        name,
        "sh",
        "-c",
        "pwd; echo $A; id -u; id -g",
    ).split() == ["/tmp", "b", "5", "6"]
    assert runtime("exec", name, "sh", "-c", "exit 7").code == 7
    assert runtime("exec", name, "sh", "-c", "kill -9 $$").code == 137
    missing = runtime("exec", name, "nosuch")
    assert missing.code == 127 and "executable file not found" in missing.err
    process = {
        "args": ["sh", "-c", "echo $0; sleep 1000"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
    }
    (tmp_path / "process.json").write_text(json.dumps(process))
    runtime.ok(
        "exec",
        "--detach",
        "--pid-file",
        str(tmp_path / "pid"),
        "--process",
        str(tmp_path / "process.json"),
        name,
    )
    pid = int((tmp_path / "pid").read_text())
    assert pid in json.loads(runtime.ok("ps", "--format", "json", name))
    assert len(json.loads(runtime.ok("ps", "--format", "json", name))) >= 2
    listed = runtime.ok("ps", name)
    assert "sleep 1000" in listed and "PID" in listed.splitlines()[0]


def test_exec_joins_a_user_and_a_time_namespace(runtime: Runtime) -> None:
    def change(config: dict[str, Any]) -> None:
        sleeper(config)
        config["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}]
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        config["linux"].update(
            uidMappings=mapping, gidMappings=mapping, timeOffsets={"boottime": {"secs": 1000000}}
        )

    name, path = runtime.bundle(change, owner=100000)
    runtime.ok("create", "--bundle", str(path), name)
    runtime.ok("start", name)
    out = runtime.ok(
        "exec", "--user", "3", name, "sh", "-c", "cat /proc/self/uid_map; id -u; cat /proc/uptime"
    )
    assert out.split()[:4] == ["0", "100000", "65536", "3"] and float(out.split()[4]) > 1000000


def test_pause_and_resume(runtime: Runtime) -> None:
    name = runtime.create(sleeper)
    runtime.ok("start", name)
    runtime.ok("pause", name)
    assert runtime.state(name)["status"] == "paused"
    assert "paused" in runtime("exec", name, "true").err
    runtime.ok("resume", name)
    assert runtime.state(name)["status"] == "running"
    assert "not paused" in runtime("resume", name).err
    runtime.ok("pause", name)
    runtime.ok("delete", "--force", name)


def test_update_changes_limits_and_events_shows_them(runtime: Runtime) -> None:
    name = runtime.create(sleeper)
    runtime.ok("start", name)
    runtime.ok("update", "--pids-limit", "33", "--memory", str(64 << 20), name)
    stats = json.loads(runtime.ok("events", "--stats", name))
    assert (stats["data"]["pids"]["limit"], stats["data"]["memory"]["usage"]["limit"]) == (33, 64 << 20)
    with subprocess.Popen(["echo", '{"pids": {"limit": 44}}'], stdout=subprocess.PIPE) as echo:
        runtime.ok("update", "--resources", "-", name, stdin=echo.stdout)
    assert json.loads(runtime.ok("events", "--stats", name))["data"]["pids"]["limit"] == 44
    assert runtime("update", "--pids-limit", "many", name).code == 1


def test_list_shows_every_container(runtime: Runtime) -> None:
    names = sorted(runtime.create(sleeper) for _ in range(2))
    assert runtime.ok("list", "--quiet").split() == names
    assert [state["id"] for state in json.loads(runtime.ok("list", "--format", "json"))] == names
    assert runtime.ok("list").splitlines()[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED"]


def test_preserved_descriptors_reach_the_command(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from 3")
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        if fd != 3:
            os.dup2(fd, 3) if not os.path.exists("/proc/self/fd/3") else None
        name, path = runtime.bundle(script("cat <&3; ls -1 /proc/self/fd | grep -c ."))
        command = f'exec 3< "{tmp_path}/a"; exec "$@"'
        whole = [
            *runtime.argv,
            "--root",
            str(runtime.directory / "state"),
            "run",
            "--preserve-fds",
            "1",
            "-b",
            str(path),
            name,
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            ["sh", "-c", command, "sh", *whole], capture_output=True, text=True, env=environment
        )
        assert done.stdout == "from 35\n", done
    finally:
        os.close(fd)
    assert "descriptor 3 is not open" in runtime("run", "--preserve-fds", "2", "-b", str(path), name).err


def test_errors_go_to_the_log_as_json(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    runtime("--log", str(log), "--log-format", "json", "state", "nosuch")
    runtime("--log", str(log), "--log-format", "text", "state", "nosuch")
    first, second = log.read_text().splitlines()
    entry = json.loads(first)
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist") and entry["time"].endswith(
        "Z"
    )
    assert 'level=error msg="container does not exist"' in second


def test_a_killed_creator_leaves_something_that_can_be_deleted(runtime: Runtime) -> None:
    name, path = runtime.bundle(
        lambda c: c.update(hooks={"prestart": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]})
    )
    command = [*runtime.argv, "--root", str(runtime.directory / "state"), "create", "-b", str(path), name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as creator:
        children = Path(f"/proc/{creator.pid}/task/{creator.pid}/children")
        while len(children.read_text().split()) < 2:  # the container's first process, and the hook
            assert creator.poll() is None
        pids = [int(pid) for pid in children.read_text().split()]
        assert runtime.state(name)["status"] == "creating"
        creator.kill()
        creator.wait()
    runtime.wait(name, "stopped")
    runtime.ok("delete", name)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)  # the hook belongs to nobody now
        except ProcessLookupError:
            continue


def test_a_terminal_of_its_own_needs_somebody_to_take_it(runtime: Runtime) -> None:
    name, path = runtime.bundle(lambda c: c["process"].update(terminal=True))
    assert "console socket" in runtime("create", "-b", str(path), name).err
    name, path = runtime.bundle()
    assert "no terminal" in runtime("create", "-b", str(path), "--console-socket", "/x", name).err


def test_help_has_an_example_for_every_command(runtime: Runtime) -> None:
    from tiffin.cli.oci.table import COMMANDS

    text = runtime.ok("--help")
    for command in COMMANDS:
        assert f"  {command.name} " in text
        assert f"Example:\n  tiffin-runtime {command.name}" in runtime.ok(command.name, "--help")
    assert "spec: 1.3.0" in runtime.ok("--version")


def valid(document: Any, name: str) -> None:
    registry: Registry[Any] = Registry()
    for path in SCHEMAS.glob("*.json"):
        resource = Resource.from_contents(json.loads(path.read_text()), default_specification=DRAFT4)
        registry = registry.with_resource(path.name, resource)
    Draft202012Validator({"$ref": name}, registry=registry).validate(document)


def test_features_and_state_and_spec_are_valid_documents(runtime: Runtime, tmp_path: Path) -> None:
    valid(json.loads(runtime.ok("features")), "features-schema.json")
    valid(runtime.state(runtime.create()), "state-schema.json")
    runtime.ok("spec", "--bundle", str(tmp_path))
    assert "Remove it first" in runtime("spec", "--bundle", str(tmp_path)).err
    config = json.loads((tmp_path / "config.json").read_text())
    valid(config, "config-schema.json")
    assert config["ociVersion"] == "1.3.0" and config["process"]["args"] == ["sh"]
