"""Every option of `run` does something: each is seen from inside the container, or on the machine."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.signals import await_trap

pytestmark = pytest.mark.root


def seen(tiffin: Tiffin, options: list[str], script: str) -> str:
    words = [
        "run",
        "--rm",
        *([] if "--network" in options or "-P" in options else ["--network", "none"]),
        *options,
    ]
    return tiffin.ok(*words, "busybox", "sh", "-c", script)


@pytest.mark.parametrize(
    ("options", "script", "text"),
    [
        (["--domainname", "example.test"], "cat /proc/sys/kernel/domainname", "example.test"),
        (["--hostname", "box"], "hostname; cat /etc/hostname", "box\nbox"),
        (["--group-add", "2000", "--group-add", "77"], "id -G", "0 77 2000"),
        (["-u", "user:extra"], "id -u; id -g", "1000\n2000"),
        (["--entrypoint", "echo"], "x", "sh -c x"),
        (["--init"], "cat /proc/1/comm; echo $$", "tiffin-init\n2"),
        (["--ulimit", "nofile=77:88"], "ulimit -n; ulimit -Hn", "77\n88"),
        (["--shm-size", "1m"], "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024"),
        (["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
        (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", "1"),
        (["--cap-drop", "ALL"], "grep CapEff /proc/self/status | cut -f2", "0000000000000000"),
        (
            ["--cap-add", "SYS_NICE", "--cap-drop", "ALL"],
            "grep CapEff /proc/self/status | cut -f2",
            "0000000000800000",
        ),
        (["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status | cut -f2", "1"),
        (["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status | cut -f2", "0"),
        ([], "grep Seccomp: /proc/self/status | cut -f2", "2"),
        (
            ["--tmpfs", "/scratch:size=1m,mode=700"],
            "stat -f -c %T /scratch; stat -c %a /scratch",
            "tmpfs\n700",
        ),
        (["--add-host", "db:10.1.2.3", "--network", "bridge"], "grep -w db /etc/hosts", "10.1.2.3\tdb"),
        (
            ["--dns", "10.9.8.7", "--dns-search", "a.test", "--dns-option", "ndots:2", "--network", "bridge"],
            "sort /etc/resolv.conf",
            "nameserver 10.9.8.7\noptions ndots:2\nsearch a.test",
        ),
        (["--add-host", "db=[fd00::7]", "--network", "bridge"], "grep -w db /etc/hosts", "fd00::7\tdb"),
        (
            ["--add-host", "host.docker.internal:host-gateway", "--network", "bridge"],
            "test $(awk '/internal/ {print $1}' /etc/hosts) = $(ip route | awk '/default/ {print $3}') && echo gateway",
            "gateway",
        ),
        (
            ["--hostname", "web", "--domainname", "a.test", "--network", "bridge"],
            "hostname -f; tail -1 /etc/hosts | cut -f2",
            "web.a.test\nweb.a.test web",
        ),
        (["--network", "host"], "test -e /sys/class/net/lo && readlink /proc/self/ns/net | wc -l", "1"),
        (["--read-only"], "touch /x 2>/dev/null || echo refused", "refused"),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, list) and value else None,
)
def test_an_option_is_seen_inside(shared: Tiffin, options: list[str], script: str, text: str) -> None:
    assert seen(shared, options, script) == text


def test_env_file_and_cidfile_and_labels(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nA=1 2\n\nB\n")
    cid = tmp_path / "cid"
    words = ["--env-file", str(tmp_path / "env"), "--cidfile", str(cid), "-l", "a=b", "-l", "c"]
    name = shared.ok("create", *words, "busybox", "env")
    assert cid.read_text() == name
    config = json.loads(shared.ok("inspect", name))[0]["Config"]
    assert "A=1 2" in config["Env"]
    assert config["Labels"] == {"a": "b", "c": ""}
    assert "exists" in shared.fails("create", "--cidfile", cid, "busybox", "env", code=125)
    shared.ok("rm", name)


def test_published_and_exposed_ports(shared: Tiffin) -> None:
    name = shared.ok("run", "-d", "-P", "--expose", "81", "--expose", "82/udp", "busybox", "sleep", "99")
    lines = shared.ok("port", name).splitlines()
    assert [line.split(" -> ")[0] for line in lines] == ["81/tcp", "82/udp"]
    shared.ok("rm", "-f", name)


def pid_of(tiffin: Tiffin, name: str) -> int:
    return int(tiffin.ok("inspect", "-f", "{{.State.Pid}}", name))


def test_stop_signal_and_stop_timeout(shared: Tiffin) -> None:
    script = "trap 'exit 9' USR1; while :; do sleep 0.05; done"
    name = shared.ok("run", "-d", "--network", "none", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    await_trap(pid_of(shared, name), signal.SIGUSR1)
    shared.ok("stop", name)
    assert shared.ok("wait", name) == "9"
    shared.ok("rm", name)
    stubborn = "trap '' TERM; while :; do sleep 0.05; done"
    name = shared.ok("run", "-d", "--network", "none", "--stop-timeout", "1", "busybox", "sh", "-c", stubborn)
    await_trap(pid_of(shared, name), field="SigIgn")
    began = time.monotonic()
    shared.ok("stop", name)
    assert 0.9 < time.monotonic() - began < 8
    assert shared.ok("wait", name) == "137"
    shared.ok("rm", name)


def test_volumes_named_anonymous_bound_and_mounted(shared: Tiffin, tmp_path: Path) -> None:
    assert seen(shared, ["-v", "kept:/data"], "echo x > /data/f; cat /data/f") == "x"
    assert (
        seen(shared, ["-v", "kept:/data:ro"], "cat /data/f; touch /data/g 2>/dev/null || echo ro") == "x\nro"
    )
    assert seen(shared, ["-v", "/home"], "mount | grep -c ' /home '") == "1"
    mount = f"type=bind,source={tmp_path},target=/src,readonly"
    assert seen(shared, ["--mount", mount], "touch /src/x 2>/dev/null || echo ro") == "ro"
    assert seen(shared, ["-v", f"{tmp_path}/made:/made"], "ls -d /made") == "/made"
    assert (tmp_path / "made").is_dir()
    assert [path.name for path in (shared.root / "volumes").iterdir()] == ["kept"]


def test_memory_beyond_the_limit_is_oom_killed(shared: Tiffin) -> None:
    eat = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"
    name = shared.ok(
        "run", "-d", "--network", "none", "-m", "32m", "--memory-swap", "32m", "busybox", "sh", "-c", eat
    )
    assert shared.ok("wait", name) == "137"
    assert json.loads(shared.ok("inspect", name))[0]["State"]["OOMKilled"] is True
    shared.ok("rm", name)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--dns", "home"], "invalid argument 'home' for --dns: home is not an ip address"),
        (["--dns-search", "a b"], "a b is not a valid domain"),
        (["--dns-option", "a b"], "for --dns-option"),
        (["--add-host", "db"], "bad format for add-host: 'db'"),
        (["--add-host", "db:nowhere"], "invalid IP address in add-host: 'nowhere'"),
    ],
)
def test_slips_about_names_are_refused(shared: Tiffin, words: list[str], what: str) -> None:
    assert what in shared.fails("create", *words, "busybox", "true", code=125)
