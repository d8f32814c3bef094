"""config.md "Process" and "Linux Process", config-linux.md "Seccomp" and "Personality": what the command finds."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.suites.bundle import Runtime, script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root

Config = dict[str, Any]


def process(**fields: Any) -> Callable[[Config], None]:
    return lambda config: config["process"].update(fields)


def user(**fields: Any) -> Callable[[Config], None]:
    return lambda config: config["process"]["user"].update(fields)


def capabilities(**sets: list[str]) -> Callable[[Config], None]:
    return lambda config: config["process"].update(capabilities=sets)


def linux(**fields: Any) -> Callable[[Config], None]:
    return lambda config: config["linux"].update(fields)


CHOWN = ["CAP_CHOWN"]
# section, change, script, what it prints
CASES = [
    ("config.md, Process: cwd", process(cwd="/tmp"), "pwd", "/tmp"),
    ("config.md, Process: env", process(env=["PATH=/bin", "A=b c"]), 'echo "$A"', "b c"),
    ("config.md, User: uid and gid", user(uid=10, gid=20), "echo $(id -u) $(id -g)", "10 20"),
    ("config.md, User: additionalGids", user(additionalGids=[5, 6]), "id -G", "0 5 6"),
    ("config.md, User: umask", user(umask=0o077), "umask", "0077"),
    ("config.md, rlimits", process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]),
     "echo $(ulimit -Sn) $(ulimit -Hn)", "64 128"),
    ("config.md, noNewPrivileges", process(noNewPrivileges=True), "grep NoNewPrivs /proc/self/status",
     "NoNewPrivs:\t1"),
    ("config.md, noNewPrivileges off", process(noNewPrivileges=False), "grep NoNewPrivs /proc/self/status",
     "NoNewPrivs:\t0"),
    ("config.md, oomScoreAdj", process(oomScoreAdj=123), "cat /proc/self/oom_score_adj", "123"),
    ("config.md, capabilities: five sets", capabilities(bounding=["CAP_KILL", *CHOWN], effective=CHOWN, permitted=CHOWN,
                                                        inheritable=CHOWN, ambient=CHOWN),
     "grep Cap /proc/self/status | tr '\\n' ' '",
     "CapInh:\t0000000000000001 CapPrm:\t0000000000000001 CapEff:\t0000000000000001 CapBnd:\t0000000000000021 "
     "CapAmb:\t0000000000000001"),
    ("config.md, capabilities: none", process(capabilities={}), "grep CapEff /proc/self/status",
     "CapEff:\t0000000000000000"),
    ("config.md, scheduler: SCHED_BATCH", process(scheduler={"policy": "SCHED_BATCH", "nice": 5}),
     "awk '{print $19, $41}' /proc/self/stat", "5 3"),
    ("config.md, scheduler: SCHED_IDLE", process(scheduler={"policy": "SCHED_IDLE"}),
     "awk '{print $41}' /proc/self/stat", "5"),
    ("config.md, scheduler: flags", process(scheduler={"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
     "awk '{print $41}' /proc/$$/stat", "3"),
    ("config.md, ioPriority", process(ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0}), "ionice -p 1", "idle"),
    ("config-linux.md, Personality", linux(personality={"domain": "LINUX32"}), "uname -m", "i686"),
    ("config-linux.md, Sysctl", linux(sysctl={"net.ipv4.ip_forward": "1"}), "cat /proc/sys/net/ipv4/ip_forward", "1"),
    ("config-linux.md, Masked Paths", linux(maskedPaths=["/proc/version", "/home"]), "ls /home; wc -c < /proc/version",
     "0"),
    ("config-linux.md, Readonly Paths", linux(readonlyPaths=["/tmp"]), "touch /tmp/x 2>/dev/null || echo ro", "ro"),
    ("config.md, hostname", lambda c: c.update(hostname="other"), "hostname", "other"),
    ("config.md, domainname", lambda c: c.update(domainname="example"), "cat /proc/sys/kernel/domainname", "example"),
    ("config.md, Root: readonly", lambda c: c["root"].update(readonly=True), "touch /x 2>/dev/null || echo ro", "ro"),
    ("config-linux.md, Default Devices", lambda c: None,
     "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty | tr '\\n' ' '; readlink ptmx",
     "null 1:3 zero 1:5 full 1:7 random 1:8 urandom 1:9 tty 5:0 pts/ptmx"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "change", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_the_document_says_the_command_finds(
    runtime: Runtime, section: str, change: Callable[[Config], None], text: str, expected: str
) -> None:
    done = runtime.sh(text, change)
    assert (done.out.strip(), done.code) == (expected, 0), f"{section}: {done}"


# section, change, a word of the refusal
REFUSED = [
    ("config.md, Valid values: ociVersion", lambda c: c.update(ociVersion="2.0.0"), "ociVersion"),
    ("config.md, Process: args", process(args=[]), "args"),
    ("config.md, Process: cwd", process(cwd="tmp"), "absolute"),
    ("config.md, rlimits: twice", process(rlimits=[{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2), "twice"),
    ("config.md, rlimits: unknown", process(rlimits=[{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]), "RLIMIT_TEST"),
    ("config.md, scheduler: unknown", process(scheduler={"policy": "SCHED_X"}), "SCHED_X"),
    ("config.md, ioPriority: range", process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 9}), "0 to 7"),
    ("config.md, apparmorProfile where there is none", process(apparmorProfile="docker-default"), "AppArmor"),
    ("config.md, selinuxLabel where there is none", process(selinuxLabel="a:b:c"), "SELinux"),
    ("config.md, Platform: vm", lambda c: c.update(vm={"hypervisor": {"path": "/x"}}), "virtual machines"),
    ("config-linux.md, IntelRdt", linux(intelRdt={"closID": "x"}), "resctrl"),
    ("config-linux.md, Namespaces: twice", lambda c: c["linux"]["namespaces"].append({"type": "pid"}), "twice"),
    ("config-linux.md, Namespaces: unknown", lambda c: c["linux"]["namespaces"].append({"type": "x"}), "not one of"),
    ("config-linux.md, Namespaces: no namespace file",
     lambda c: c["linux"]["namespaces"][1].update(path="/etc/passwd"), "no namespace"),
    ("config-linux.md, Namespaces: of another type",
     lambda c: c["linux"]["namespaces"][1].update(path="/proc/self/ns/ipc"), "namespace"),
    ("config-linux.md, Sysctl outside of namespaces", linux(sysctl={"kernel.panic": "1"}), "kernel.panic"),
    ("config-linux.md, rootfsPropagation", linux(rootfsPropagation="everywhere"), "not one of"),
    ("config-linux.md, Personality: flags", linux(personality={"domain": "LINUX", "flags": ["x"]}), "flags"),
    ("config-linux.md, Seccomp: unknown action", linux(seccomp={"defaultAction": "SCMP_ACT_X"}), "SCMP_ACT_X"),
    ("config-linux.md, Seccomp: errnoRet without meaning",
     linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}), "no meaning"),
    ("config-linux.md, Seccomp: notify without listenerPath",
     linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}), "listenerPath"),
    ("config.md, hostname needs a UTS namespace",
     lambda c: c["linux"].update(namespaces=[{"type": "mount"}, {"type": "pid"}]), "UTS"),
    ("config.md, hooks: relative path", lambda c: c.update(hooks={"prestart": [{"path": "true"}]}), "absolute"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "change", "word"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_not_valid_is_refused_and_leaves_nothing(
    runtime: Runtime, section: str, change: Callable[[Config], None], word: str
) -> None:
    name, path = runtime.bundle(change)
    done = runtime("create", "--bundle", str(path), name)
    assert done.code == 1 and word in done.err, done
    assert len(done.err.strip().splitlines()) == 1
    assert not (runtime.directory / "state" / name).exists()


def test_unknown_properties_are_ignored(runtime: Runtime) -> None:
    """config.md, "Extensibility"."""
    assert runtime.run(lambda c: (c.update(unknown={"a": 1}), c["process"].update(x=1))).code == 0


def test_a_capability_that_cannot_be_granted_is_a_warning(runtime: Runtime) -> None:
    """config.md, "Linux Process": capabilities."""
    done = runtime.sh("grep CapBnd /proc/self/status", capabilities(bounding=["CAP_NO_SUCH", "CAP_KILL"]))
    assert (done.code, done.out.strip()) == (0, "CapBnd:\t0000000000000020")
    assert "CAP_NO_SUCH" in done.err


# ---- config-linux.md, "Seccomp"


def seccomp(default: str = "SCMP_ACT_ALLOW", *rules: dict[str, Any], **more: Any) -> Callable[[Config], None]:
    return linux(seccomp={"defaultAction": default, "syscalls": list(rules), **more})


def rule(names: list[str], action: str, **more: Any) -> dict[str, Any]:
    return {"names": names, "action": action, **more}


def argument(index: int, value: int, op: str, two: int = 0) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": two, "op": f"SCMP_CMP_{op}"}


@pytest.mark.parametrize(
    ("action", "code", "text"),
    [
        ("SCMP_ACT_ERRNO", 1, "Operation not permitted"),
        ("SCMP_ACT_TRACE", 1, "Function not implemented"),
        ("SCMP_ACT_KILL", 128 + 31, ""),
        ("SCMP_ACT_KILL_THREAD", 128 + 31, ""),
        ("SCMP_ACT_KILL_PROCESS", 128 + 31, ""),
        ("SCMP_ACT_TRAP", 128 + 31, ""),
        ("SCMP_ACT_LOG", 0, ""),
        ("SCMP_ACT_ALLOW", 0, ""),
    ],
)
def test_every_seccomp_action_does_what_it_is_called(
    runtime: Runtime, action: str, code: int, text: str
) -> None:
    done = runtime.sh("mkdir /tmp/x", seccomp("SCMP_ACT_ALLOW", rule(["mkdir", "mkdirat"], action)))
    assert done.code == code and text in done.err, done


@pytest.mark.parametrize(
    ("test", "refused"),
    [
        (argument(1, 0o700, "EQ"), [0o700]),
        (argument(1, 0o700, "NE"), [0o755, 0o500]),
        (argument(1, 0o700, "LT"), [0o500]),
        (argument(1, 0o700, "LE"), [0o500, 0o700]),
        (argument(1, 0o700, "GT"), [0o755]),
        (argument(1, 0o700, "GE"), [0o700, 0o755]),
        (argument(1, 0o050, "MASKED_EQ", 0o050), [0o755]),
    ],
    ids=["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"],
)
def test_every_seccomp_operator_compares(runtime: Runtime, test: dict[str, Any], refused: list[int]) -> None:
    modes = (0o500, 0o700, 0o755)
    text = "; ".join(
        f"touch /tmp/{mode:o}; chmod {mode:o} /tmp/{mode:o} 2>/dev/null || echo {mode}" for mode in modes
    )
    done = runtime.sh(text, seccomp("SCMP_ACT_ALLOW", rule(["chmod"], "SCMP_ACT_ERRNO", args=[test])))
    assert sorted(map(int, done.out.split())) == sorted(refused)


def test_errno_return_values_are_the_documents(runtime: Runtime) -> None:
    done = runtime.sh(
        "mkdir /tmp/x", seccomp("SCMP_ACT_ALLOW", rule(["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", errnoRet=28))
    )
    assert "No space left on device" in done.err


def test_flags_and_architectures_are_taken(runtime: Runtime) -> None:
    flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]
    change = seccomp("SCMP_ACT_ALLOW", flags=flags, architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"])
    assert runtime.sh("grep Seccomp: /proc/self/status", change).out == "Seccomp:\t2\n"


def test_a_listener_is_sent_with_the_state_of_the_container_process(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "agent")
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.bind(path)
    agent.listen()
    got: dict[str, Any] = {}

    def take() -> None:
        connection, _ = agent.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        got.update(json.loads(data), received=len(fds), link=os.readlink(f"/proc/self/fd/{fds[0]}"))
        for fd in fds:
            os.close(fd)  # whoever asks from now on is told ENOSYS

    listening = threading.Thread(target=take)
    listening.start()
    change = seccomp(
        "SCMP_ACT_ALLOW",
        rule(["mkdir", "mkdirat"], "SCMP_ACT_NOTIFY"),
        listenerPath=path,
        listenerMetadata="meta",
    )
    done = runtime.sh("ls -1 /proc/self/fd | grep -c .; mkdir /tmp/x", change)
    listening.join(20)
    agent.close()
    assert "Function not implemented" in done.err and done.out == "4\n"
    assert (got["fds"], got["metadata"], got["received"]) == (["seccompFd"], "meta", 1)
    assert got["pid"] == got["state"]["pid"] and got["state"]["status"] == "creating"
    assert got["link"] == "anon_inode:seccomp notify"


def test_terminals_get_their_size_and_the_console_socket_gets_the_master(
    runtime: Runtime, tmp_path: Path
) -> None:
    """config.md, "Process": terminal, consoleSize; config-linux.md, "Default Devices": /dev/console."""
    path = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def change(config: Config) -> None:
            script("stty size; tty; test -c /dev/console && echo console; sleep 1000")(config)
            config["process"].update(terminal=True, consoleSize={"height": 33, "width": 77})

        name = runtime.create(change, "--console-socket", path)
        connection, _ = listener.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        assert data == b"/dev/ptmx" and len(fds) == 1
        runtime.ok("start", name)
        with os.fdopen(fds[0], "rb", buffering=0) as master:
            said = b""
            while b"console" not in said.split(b"pts")[-1]:
                said += master.read(4096) or b""
        assert said.split() == [b"33", b"77", b"/dev/pts/0", b"console"]
        runtime.ok("delete", "--force", name)
