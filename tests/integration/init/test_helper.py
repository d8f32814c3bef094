"""The helper itself, told by hand-made messages what to become."""

from __future__ import annotations

import errno
import os
import resource
import struct

import pytest

from tests.integration.init.harness import Box, run
from tiffin.errors import InvalidArgument
from tiffin.init import message as m
from tiffin.init.message import CREATE, Message, Status
from tiffin.kernel.process import CAPABILITIES, bounding_set

pytestmark = pytest.mark.root

NET_RAW, SYS_ADMIN, CHOWN = 1 << 13, 1 << 21, 1 << 0


def test_the_command_gets_its_arguments_environment_and_nothing_else(rootfs):
    result = run(rootfs, "sh", "-c", 'echo "$0|$1"; exec env', "a b", "", env=["PATH=/bin", "X=1=2"])
    assert result.output.splitlines()[0] == "a b|"
    assert {"PATH=/bin", "X=1=2"} <= set(result.output.splitlines()[1:])
    assert result.code == 0
    assert result.statuses == [Status("ready", "", 0)]


def test_its_exit_code_comes_through(rootfs):
    assert run(rootfs, "sh", "-c", "exit 7").code == 7


def test_a_name_that_is_nowhere_in_path_is_127(rootfs):
    result = run(rootfs, "nosuch")
    assert (result.code, result.statuses[-1]) == (127, Status("failed", "exec", errno.ENOENT))


def test_a_path_that_does_not_exist_is_127(rootfs):
    result = run(rootfs, "/bin/nosuch")
    assert (result.code, result.statuses[-1]) == (127, Status("failed", "exec", errno.ENOENT))


@pytest.mark.parametrize("target", ["/bin", "/tmp/plain"])
def test_what_is_not_executable_is_126(rootfs, target):
    with open(rootfs + "/tmp/plain", "w") as file:
        file.write("text")
    result = run(rootfs, target)
    assert (result.code, result.statuses[-1]) == (126, Status("failed", "exec", errno.EACCES))


def test_a_file_in_no_known_format_is_126_and_names_the_format(rootfs):
    with open(rootfs + "/tmp/text", "w") as file:
        file.write("no program")
    os.chmod(rootfs + "/tmp/text", 0o755)
    result = run(rootfs, "/tmp/text")
    assert (result.code, result.statuses[-1]) == (126, Status("failed", "exec", errno.ENOEXEC))


def test_path_is_searched_in_order_past_relative_and_unusable_entries(rootfs):
    os.makedirs(rootfs + "/work/first", exist_ok=True)
    with open(rootfs + "/work/first/true", "w") as file:
        file.write("not executable")
    path = f"PATH=.:bin::/nosuch:/bin/busybox:/work/first:/{'x' * 5000}:/bin"
    assert run(rootfs, "true", env=[path]).code == 0
    assert run(rootfs, "true", env=["PATH=bin:."]).code == 127
    assert run(rootfs, "true", env=[]).code == 127


def test_it_has_the_host_and_domain_name_working_directory_and_umask_asked_for(rootfs):
    script = "hostname; cat /proc/sys/kernel/domainname; pwd; umask"
    result = run(rootfs, "sh", "-c", script, hostname="box", domainname="lan", cwd="/work", umask=0o027)
    assert result.output.splitlines() == ["box", "lan", "/work", "0027"]


def test_only_the_root_is_left_of_the_mounts(rootfs):
    result = run(rootfs, "cat", "/proc/self/mountinfo")
    assert [line.split()[4] for line in result.output.splitlines()] == ["/", "/proc"]


def test_user_group_and_supplementary_groups_are_those_asked_for(rootfs):
    ids = {"uid": 1000, "gid": 1001, "groups": [5, 7000]}
    result = run(rootfs, "grep", "-E", "Uid|Gid|Groups", "/proc/self/status", **ids)
    fields = {line.split()[0]: line.split()[1:] for line in result.output.splitlines()}
    assert fields == {"Uid:": ["1000"] * 4, "Gid:": ["1001"] * 4, "Groups:": ["5", "7000"]}


def test_ambient_capabilities_reach_a_command_that_is_not_root(rootfs):
    mask = NET_RAW | CHOWN
    kept = dict.fromkeys(("bounding", "effective", "permitted", "inheritable"), mask)
    result = run(rootfs, "grep", "Cap", "/proc/self/status", uid=1000, ambient=NET_RAW, **kept)
    fields = {line.split()[0]: int(line.split()[1], 16) for line in result.output.splitlines()}
    assert fields["CapEff:"] == fields["CapPrm:"] == fields["CapAmb:"] == NET_RAW
    assert fields["CapBnd:"] == mask


def test_limits_are_lowered(rootfs):
    limits = [(resource.RLIMIT_NOFILE, 100, 200), (resource.RLIMIT_CORE, 0, 0)]
    result = run(rootfs, "sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hc", rlimits=limits)
    assert result.output.split() == ["100", "200", "0"]
    assert result.statuses == [Status("ready", "", 0)]


def test_a_limit_that_may_not_be_raised_is_a_warning_and_is_kept(rootfs):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard >= 2**20 or os.geteuid():
        pytest.skip("the hard limit is as high as it goes")
    limit = (resource.RLIMIT_NOFILE, 2**20, 2**20)
    result = run(rootfs, "sh", "-c", "ulimit -Hn", rlimits=[limit])
    if result.output.strip() == str(2**20):
        pytest.skip("CAP_SYS_RESOURCE is held here")
    assert result.output.strip() == str(hard)
    assert result.statuses[0] == Status("warning", "rlimit", resource.RLIMIT_NOFILE)


def test_ignored_and_blocked_signals_of_the_engine_are_not_inherited(rootfs):
    result = run(rootfs, "grep", "-E", "SigIgn|SigBlk", "/proc/self/status")  # Python itself ignores SIGPIPE
    assert [int(line.split()[1], 16) for line in result.output.splitlines()] == [0, 0]


def test_the_terminal_becomes_the_controlling_one(rootfs):
    primary, secondary = os.openpty()
    flags = m.NEW_SESSION | m.CONTROLLING_TTY | m.WAIT_START
    box = Box(rootfs, "sh", "-c", "echo opened > /dev/tty; cat /proc/self/stat", flags=flags, stdio=secondary)
    os.close(secondary)
    assert box.ready().kind == "ready"
    box.start()
    output = b""
    while b") " not in output:
        output += os.read(primary, 4096)
    assert box.finish().code == 0
    os.close(primary)
    state = output.split(b") ")[1].split()
    assert int(state[3]) == 1  # the session is PID 1's
    assert int(state[4]) != 0  # and has a terminal


def test_without_the_engines_word_nothing_is_executed(rootfs):
    box = Box(rootfs, "sh", "-c", "echo ran")
    assert box.ready().kind == "ready"
    os.close(box.start_fd)
    box.start_fd = -1
    result = box.finish()
    assert (result.code, result.output) == (1, "")
    assert result.statuses[-1] == Status("failed", "start", errno.EPIPE)


def test_a_missing_working_directory_is_told_as_such(rootfs):
    assert run(rootfs, "true", cwd="/nosuch").statuses[-1] == Status("failed", "cwd", errno.ENOENT)
    assert run(rootfs, "true", cwd="/bin/busybox").statuses[-1] == Status("failed", "cwd", errno.ENOTDIR)


def test_a_capability_beyond_our_own_is_refused_before_the_command(rootfs):
    missing = next((bit for bit in CAPABILITIES.values() if not bounding_set() >> bit & 1), None)
    if missing is None:
        pytest.skip("every capability is held here")
    result = run(rootfs, "true", permitted=1 << missing)
    assert result.statuses[-1] == Status("failed", "capabilities", errno.EPERM)


def filter_refusing(number: int, error: int) -> bytes:
    """A filter that answers one system call with an errno."""
    load, equal, give = 0x20, 0x15, 0x06
    return b"".join(
        struct.pack("<HBBI", *words)
        for words in [
            (load, 0, 0, 0),
            (equal, 0, 1, number),
            (give, 0, 0, 0x00050000 | error),
            (give, 0, 0, 0x7FFF0000),
        ]
    )


MKDIRS = {"x86_64": 83, "aarch64": 34}  # mkdir, mkdirat


@pytest.mark.parametrize("flags", [0, m.NO_NEW_PRIVS])
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_filter_is_applied_with_and_without_no_new_privs(rootfs, flags, uid):
    os.chmod(rootfs + "/tmp", 0o1777)
    refusing = filter_refusing(MKDIRS[os.uname().machine], errno.EXDEV)
    script = "mkdir /tmp/made; grep -E 'NoNew|Seccomp:|CapEff' /proc/self/status"
    result = run(rootfs, "sh", "-c", script, flags=flags | m.WAIT_START, seccomp=refusing, uid=uid)
    fields = dict(line.split() for line in result.output.splitlines()[1:])
    assert "Invalid cross-device link" in result.output
    assert fields["NoNewPrivs:"] == str(int(bool(flags)))
    assert fields["Seccomp:"] == "2"
    if uid:
        assert int(fields["CapEff:"], 16) == 0  # the capability that the filter took has been given up again


def test_init_reaps_orphans_and_ends_with_the_command(rootfs):
    script = "sh -c '(sleep 0.05 &)'; sleep 0.3; ps; exit 9"
    result = run(rootfs, "sh", "-c", script, flags=m.NEW_SESSION | m.WAIT_START | m.KEEP_INIT)
    assert result.code == 9
    assert "1 0        tiffin-init" in result.output
    assert "[" not in result.output  # ps shows what is left of an unreaped process in brackets


def test_init_ends_with_128_and_the_signal_of_the_command(rootfs):
    assert run(rootfs, "sh", "-c", "kill -9 $$", flags=m.KEEP_INIT | m.WAIT_START).code == 137


def test_init_hands_signals_to_the_command(rootfs):
    flags = m.NEW_SESSION | m.WAIT_START | m.KEEP_INIT
    script = "trap 'echo got it; exit 5' TERM; echo waiting; while :; do sleep 0.05; done"
    box = Box(rootfs, "sh", "-c", script, flags=flags)
    assert box.ready().kind == "ready"
    box.start()
    assert box.process.stdout is not None
    assert box.process.stdout.readline() == b"waiting\n"
    os.kill(box.pid, 15)
    result = box.finish()
    assert (result.code, result.output) == (5, "got it\n")


def test_init_tells_that_the_command_cannot_be_executed(rootfs):
    result = run(rootfs, "nosuch", flags=m.KEEP_INIT | m.WAIT_START)
    assert (result.code, result.statuses[-1]) == (127, Status("failed", "exec", errno.ENOENT))


def test_init_leaves_the_terminal_to_the_command(rootfs):
    primary, secondary = os.openpty()
    flags = m.NEW_SESSION | m.CONTROLLING_TTY | m.WAIT_START | m.KEEP_INIT
    box = Box(rootfs, "sh", "-c", "cat /proc/self/stat", flags=flags, stdio=secondary)
    os.close(secondary)
    box.ready()
    box.start()
    output = b""
    while b") " not in output:
        output += os.read(primary, 4096)
    assert box.finish().code == 0
    os.close(primary)
    assert int(output.split(b") ")[1].split()[3]) == 2


@pytest.fixture
def running(rootfs):
    """The pid of a container's first process, waiting."""
    box = Box(rootfs, "sleep", "60", hostname="joined")
    box.ready()
    box.start()
    assert box.executed()
    yield box.pid
    box.close()


def test_exec_joins_all_namespaces_and_reports_the_pid(rootfs, running):
    box = Box(rootfs, "sh", "-c", "hostname; pwd; ps; exit 4", join=running, cwd="/work")
    assert box.ready().kind == "ready"
    child = box.statuses[0]
    assert child.kind == "child"
    for name in ("mnt", "pid", "uts", "ipc", "net"):
        assert os.readlink(f"/proc/{child.value}/ns/{name}") == os.readlink(f"/proc/{running}/ns/{name}")
    box.start()
    result = box.finish()
    assert result.code == 4
    assert result.output.splitlines()[:2] == ["joined", "/work"]
    assert "sleep 60" in result.output


def test_exec_reports_what_it_cannot_execute(rootfs, running):
    result = run(rootfs, "nosuch", join=running)
    assert (result.code, result.statuses[-1]) == (127, Status("failed", "exec", errno.ENOENT))


def test_exec_enters_cgroups_by_the_files_it_is_given_and_keeps_none_of_them(rootfs, running, tmp_path):
    entrances = [tmp_path / "cpu", tmp_path / "pids"]
    for path in entrances:
        path.write_text("")
    count = "ls -1 /proc/self/fd | grep -c ."
    result = run(rootfs, "sh", "-c", count, join=running, enter=[str(path) for path in entrances])
    assert result.output.split() == ["4"]  # 0 to 2, and the directory that ls reads
    assert [path.read_text() for path in entrances] == ["0", "0"]


def test_exec_runs_nothing_when_a_cgroup_does_not_take_it(rootfs, running):
    result = run(rootfs, "true", join=running, enter=["/dev/full"])
    assert (result.code, result.statuses) == (1, [Status("failed", "cgroup", errno.ENOSPC)])


def test_a_container_is_not_made_by_a_message_that_enters_a_cgroup(rootfs, tmp_path):
    (tmp_path / "tasks").write_text("")
    result = run(rootfs, "true", enter=[str(tmp_path / "tasks")])
    assert (result.code, result.statuses[-1].stage) == (1, "message")
    assert not (tmp_path / "tasks").read_text()


def test_exec_gets_a_session_and_terminal_of_its_own(rootfs, running):
    primary, secondary = os.openpty()
    flags = m.NEW_SESSION | m.CONTROLLING_TTY | m.WAIT_START
    box = Box(rootfs, "cat", "/proc/self/stat", flags=flags, stdio=secondary, join=running)
    os.close(secondary)
    box.ready()
    box.start()
    output = b""
    while b") " not in output:
        output += os.read(primary, 4096)
    assert box.finish().code == 0
    os.close(primary)
    state = output.split(b") ")[1].split()
    assert state[3] == output.split()[0]  # it leads its session
    assert int(state[4]) != 0


def test_a_script_whose_interpreter_is_missing_is_127(rootfs):
    with open(rootfs + "/tmp/script", "w") as file:
        file.write("#!/nosuch/interpreter\n")
    os.chmod(rootfs + "/tmp/script", 0o755)
    assert run(rootfs, "/tmp/script").code == 127


def test_a_long_environment_goes_through_whole(rootfs):
    env = ["PATH=/bin"] + [f"V{i}={'x' * 1000}" for i in range(1000)]
    result = run(rootfs, "env", env=env)
    assert len(result.output.splitlines()) >= 1001
    assert result.code == 0


def test_a_message_that_cannot_be_meant_is_refused_before_it_is_sent():
    good = Message(CREATE, ("true",), root_fd=9)
    assert good.encode()
    for bad in [
        good._replace(args=()),
        good._replace(args=("a\0b",)),
        good._replace(cwd="work"),
        good._replace(uid=2**31),
        good._replace(gid=-1),
        good._replace(seccomp=b"123"),
        good._replace(groups=(2**32,)),
        good._replace(env=("X=" + "y" * (9 << 20),)),
    ]:
        with pytest.raises(InvalidArgument):
            bad.encode()


# ---- what only few containers have


@pytest.mark.parametrize("joining", [False, True])
def test_preserved_descriptors_are_3_and_up_and_nothing_else_is_open(rootfs, running, tmp_path, joining):
    names = ("one", "two", "three", "four")
    for name in names:
        (tmp_path / name).write_text(name)
    script = (
        "cat /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/6; ls -1 /proc/self/fd | grep -c ."
    )
    paths = [str(tmp_path / name) for name in names]
    result = run(rootfs, "sh", "-c", script, preserve=paths, join=running if joining else 0)
    assert result.output.split() == ["onetwothreefour8"]  # 0 to 2, four, and the directory that ls reads


def test_a_command_is_looked_for_before_ready_when_asked(rootfs):
    flags = m.NEW_SESSION | m.WAIT_START | m.CHECK_COMMAND
    assert Box(rootfs, "true", flags=flags).finish().code == 0
    for command, number in (("nosuch", errno.ENOENT), ("/bin/nosuch", errno.ENOENT), ("/tmp", errno.EACCES)):
        box = Box(rootfs, command, flags=flags)
        word = box.ready()
        if word.kind == m.READY:
            box.start()
        box.finish()
        expected = m.READY if command == "/tmp" else m.FAILED  # a directory has the bit that says executable
        assert word.kind == expected and (word.kind == m.READY or word.value == number)


def test_hooks_run_after_the_start_with_the_state_on_their_input(rootfs):
    hooks = [
        ("/bin/sh", ["sh", "-c", "/bin/cat > /tmp/first"], [], 0),
        ("/bin/sh", ["sh", "-c", 'echo "$A" > /tmp/second; cat >> /tmp/second'], ["A=b", "PATH=/bin"], 10),
    ]
    script = "cat /tmp/first /tmp/second; ls -1 /proc/self/fd | grep -c ."
    result = run(rootfs, "sh", "-c", script, hooks=hooks, state="state;")
    assert result.output.split() == ["state;b", "state;4"]


@pytest.mark.parametrize(
    ("words", "timeout", "value"),
    [
        (["sh", "-c", "exit 3"], 0, -3),
        (["sh", "-c", "kill -9 $$"], 5, -137),
        (["sleep", "60"], 1, errno.ETIMEDOUT),
    ],
)
def test_a_hook_that_fails_ends_it_before_the_command(rootfs, words, timeout, value):
    result = run(
        rootfs, "sh", "-c", "echo never", hooks=[(f"/bin/{words[0]}", words, [], timeout)], state="s"
    )
    assert result.output == "" and result.statuses[-1] == Status("failed", "hook", value)


@pytest.mark.parametrize("joining", [False, True])
def test_a_label_is_written_to_the_commands_own_file_in_the_hosts_proc(rootfs, running, joining):
    fields = {"label": "321", "label_path": "self/oom_score_adj", "join": running if joining else 0}
    result = run(
        rootfs, "sh", "-c", "cat /proc/self/oom_score_adj; ls -1 /proc/self/fd | grep -c .", **fields
    )
    assert result.output.split() == ["321", "4"]
