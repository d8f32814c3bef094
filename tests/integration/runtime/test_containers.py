"""Containers from document to exit code, through the runtime alone."""

import gc
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box
from tiffin.errors import (
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    EngineError,
    InvalidArgument,
    NotFound,
)
from tiffin.oci.mount import Mount
from tiffin.runtime.cgroups import open_cgroup
from tiffin.runtime.console import resize
from tiffin.runtime.rootfs import overlay_by_path

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 0), ("kill -TERM $$", 0)]
)
def test_the_exit_code_is_the_commands(box: Box, command: str, code: int) -> None:
    # PID 1 of a namespace ignores signals from within that it does not handle, also SIGKILL.
    assert box.run(command).code == code


def test_a_signal_from_outside_gives_128_and_its_number(box: Box) -> None:
    init = box.start("sleep 100")
    init.signal(signal.SIGKILL)
    assert init.wait() == 137
    assert init.wait() == 137


def test_standard_output_environment_and_directory_are_as_asked(box: Box) -> None:
    (box.layer / "etc/passwd").write_text("app:x:1000:1001::/home/app:/bin/sh\n")
    done = box.run(
        'echo "$A|$HOME|$PWD|$(id -u):$(id -g)|$(hostname)"',
        env=["PATH=/bin", "A=b c"],
        cwd="/srv/x",
        user="app",
    )
    assert done == (0, "b c|/home/app|/srv/x|1000:1001|box\n")


def test_a_container_sees_only_itself(box: Box) -> None:
    done = box.run(
        "echo $$; ls /proc | grep -c '^[0-9]'; ip -o link | wc -l; ip -o link | grep -c LOOPBACK,UP"
    )
    assert done.out.split() == ["1", "3", "1", "1"]


def test_a_missing_command_is_not_found_and_leaves_nothing(box: Box) -> None:
    for argv, text in ((["nosuch"], "executable file not found in $PATH"), (["/no/such"], "no such file")):
        init = box.create(box.spec(argv))
        with pytest.raises(CommandNotFound, match=text.replace("$", r"\$")):
            init.start()
        assert not init.cgroup.exists()
        with pytest.raises(ChildProcessError):
            os.waitpid(init.pid, os.WNOHANG)


def test_a_command_that_is_no_program_is_not_executable(box: Box) -> None:
    (box.layer / "bin/text").write_bytes(b"\x01\x02\x03")
    for path, mode, text in (("/bin/text", 0o755, "exec format error"), ("/etc", 0o755, "permission denied")):
        (box.layer / path.lstrip("/")).chmod(mode)
        init = box.create(box.spec([path]))
        with pytest.raises(CommandNotExecutable, match=text):
            init.start()


def test_a_process_not_started_yet_can_be_given_up(box: Box) -> None:
    init = box.create(box.spec("echo no"))
    init.destroy()
    assert not init.cgroup.exists()


def test_two_containers_with_one_id_conflict(box: Box) -> None:
    init = box.start("sleep 100")
    name = init.cgroup.path.partition("/")[2]
    with pytest.raises(Conflict, match="in use"):
        from tiffin.runtime.create import CreateRequest, create

        place = box.directory / "second"
        place.mkdir()
        create(
            CreateRequest(
                id=name,
                spec=box.spec("true"),
                root=Mount("/", "bind", str(box.layer)),
                mount_point=str(place),
                cgroup_parent=box.parent,
                helper_fd=box.helper,
            )
        )
    assert init.cgroup.pids() == [init.pid]


def test_bind_mounts_keep_their_options(box: Box) -> None:
    source = box.directory / "source"
    (source / "below").mkdir(parents=True)
    (source / "file").write_text("text")
    mounts = [
        Mount("/rw", "bind", str(source), ("rbind",)),
        Mount("/ro/deep/er", "bind", str(source), ("rbind", "ro", "noexec")),
        Mount("/etc/one", "bind", str(source / "file"), ("bind", "ro")),
        Mount("/scratch", "tmpfs", "tmpfs", ("size=1m", "mode=700")),
    ]
    done = box.run(
        "touch /rw/new; touch /ro/deep/er/no 2>/dev/null && echo bad; cat /etc/one; echo x > /etc/one; "
        "cp /bin/busybox /rw/; /ro/deep/er/busybox true; stat -c %a /scratch; df -k /scratch | tail -1",
        mounts=mounts,
    )
    assert (source / "new").exists()
    assert "bad" not in done.out and "text" in done.out and "Read-only file system" in done.out
    assert "Permission denied" in done.out and "\n700\n" in done.out and " 1024 " in done.out


def test_a_missing_bind_source_is_named_and_nothing_remains(box: Box) -> None:
    with pytest.raises(NotFound, match="bind source path does not exist: /no/such/dir"):
        box.run("true", mounts=[Mount("/x", "bind", "/no/such/dir", ("rbind",))])


def test_a_directory_cannot_be_mounted_on_a_file(box: Box) -> None:
    with pytest.raises(InvalidArgument, match="directory"):
        box.run("true", mounts=[Mount("/bin/busybox", "bind", str(box.directory), ("rbind",))])


def test_a_readonly_root_is_readonly_but_for_its_mounts(box: Box) -> None:
    done = box.run(
        "touch /x; touch /t/x && echo ok; touch /dev/shm/y && echo ok",
        readonly=True,
        mounts=[Mount("/t", "tmpfs", "tmpfs")],
    )
    assert "Read-only file system" in done.out and done.out.count("ok") == 2


def test_a_terminal_is_the_containers_own(box: Box) -> None:
    init = box.create(
        box.spec(
            "tty; stty size; test -c /dev/console && echo console; read word; echo got $word", terminal=True
        )
    )
    resize(init.console_fd, 40, 120)
    init.start()
    os.write(init.console_fd, b"hello\n")
    text = b""
    while b"got hello" not in text:
        assert select.select([init.console_fd], [], [], 20)[0]
        text += os.read(init.console_fd, 4096)
    assert init.wait() == 0
    assert b"/dev/pts/0" in text and b"40 120" in text and b"console\r" in text


def test_exec_joins_everything_and_returns_its_own_code(box: Box) -> None:
    (box.layer / "etc/group").write_text("staff:x:50:app\n")
    (box.layer / "etc/passwd").write_text("app:x:1000:1000::/:/bin/sh\n")
    init = box.start("hostname inner 2>/dev/null; echo mark > /tmp/mark; sleep 100")
    done = box.exec(
        init,
        "while ! test -s /tmp/mark; do sleep 0.01; done; cat /tmp/mark; id; hostname; ls -d /proc/1; exit 9",
        user="app",
        cwd="/tmp",
    )
    assert done.code == 9
    assert done.out.split("\n")[:3] == ["mark", "uid=1000(app) gid=1000 groups=50(staff),1000", "box"]
    host_side = box.exec_start(init, "sleep 100")
    assert host_side.pid in init.cgroup.pids()
    init.signal(signal.SIGKILL)
    assert host_side.wait() == 137
    host_side.close()


def test_exec_with_a_terminal_uses_the_containers_devpts(box: Box) -> None:
    init = box.start("sleep 100")
    running = box.exec_start(init, "tty; echo done", terminal=True)
    text = b""
    while b"done" not in text:
        assert select.select([running.console_fd], [], [], 20)[0]
        text += os.read(running.console_fd, 4096)
    assert running.wait() == 0 and b"/dev/pts/0" in text
    running.close()


def children() -> set[str]:
    """The processes that this one would have to reap."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_exec_fails_as_docker_says_and_reaps_its_process(box: Box) -> None:
    before = children()
    init = box.start("sleep 100")
    with pytest.raises(CommandNotFound, match=r'exec: "nosuch": executable file not found'):
        box.exec(init, ["nosuch"])
    with pytest.raises(InvalidArgument, match="unable to find user nobody"):
        box.exec(init, "true", user="nobody")
    with pytest.raises(InvalidArgument, match="chdir to cwd"):
        box.exec(init, "true", cwd="/no/such")
    init.signal(signal.SIGKILL)
    init.wait()
    with pytest.raises(Conflict, match="is not running"):
        box.exec(init, "true")
    assert children() <= before


def test_init_reaps_orphans_and_ends_as_the_command(box: Box) -> None:
    done = box.run("(sleep 0.01 &); sleep 0.1; cat /proc/[0-9]*/stat | grep -c ' Z '; exit 5", init=True)
    assert done.code == 5 and done.out.strip() == "0"


def test_a_host_network_container_sees_the_hosts_interfaces(box: Box) -> None:
    here = sorted(os.listdir("/sys/class/net"))
    assert sorted(box.run("ls /sys/class/net", host=frozenset({"network"})).out.split()) == here


def test_the_caller_keeps_its_own_namespaces(box: Box) -> None:
    before = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    box.run("true")
    assert {name: os.readlink(f"/proc/self/ns/{name}") for name in before} == before


def test_many_layers_and_long_paths_are_mounted(box: Box) -> None:
    lower = []
    for number in range(130):
        layer = box.directory / "layers" / ("l" * 100) / ("m" * 100) / f"{number:064d}"
        layer.mkdir(parents=True)
        (layer / f"f{number}").write_text("x")
        lower.append(str(layer))
    init_root = Mount(
        "/",
        "overlay",
        lower=(*lower, str(box.layer)),
        upper=str(box.directory / "u"),
        work=str(box.directory / "w"),
    )
    (box.directory / "u").mkdir()
    (box.directory / "w").mkdir()
    done = box.run_spec(box.spec("ls / | grep -c '^f'"), root=init_root)
    assert done == (0, "130\n")


def test_a_single_readonly_layer_is_mounted_without_an_upper(box: Box) -> None:
    for path in ("proc", "sys", "dev"):
        (box.layer / path).mkdir()
    done = box.run_spec(box.spec("touch /x; echo ok"), root=Mount("/", "overlay", lower=(str(box.layer),)))
    assert "Read-only" in done.out and "ok" in done.out


def test_the_old_mount_call_makes_the_same_overlay(box: Box) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            from tiffin.kernel.namespaces import CLONE_NEWNS, unshare
            from tiffin.runtime.rootfs import make_private

            unshare(CLONE_NEWNS)
            make_private()
            base = box.directory / "odd,:\\name"
            for name in ("upper", "work", "lower"):
                (base / name).mkdir(parents=True)
            (base / "lower/file").write_text("x")
            root = Mount(
                "/",
                "overlay",
                lower=(str(base / "lower"),),
                upper=str(base / "upper"),
                work=str(base / "work"),
            )
            fd = overlay_by_path(root, 4, ())
            os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            here = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            assert sorted(os.listdir(here)) == ["file", "new"]
            assert (base / "upper/new").exists()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_limits_are_set_and_what_cannot_be_raised_is_said(box: Box) -> None:
    init = box.create(box.spec("true", rlimits=[("nofile", 100, 100), ("core", 0, -1)]))
    init.destroy()
    done = box.run("ulimit -n; ulimit -c", rlimits=[("nofile", 100, 200), ("core", 0, 0)])
    assert done.out.split() == ["100", "0"]
    with pytest.raises(InvalidArgument, match="invalid ulimit type: moon"):
        box.run("true", rlimits=[("moon", 1, 1)])


def test_privileged_means_all_that_this_machine_has(box: Box) -> None:
    from tiffin.kernel.process import CAPABILITIES, bounding_set
    from tiffin.runtime.defaults import choose_capabilities

    choice = choose_capabilities(privileged=True)
    done = box.run(
        "grep CapEff /proc/1/status; mount -t tmpfs x /tmp && echo mounted; test -w /proc/sys/vm && echo w",
        privileged=True,
        capabilities=choice.granted,
    )
    assert int(done.out.split()[1], 16) == bounding_set() & ((1 << len(CAPABILITIES)) - 1)
    assert "mounted" in done.out and set(choice.granted) | set(choice.missing) == set(CAPABILITIES)


def test_sysctls_and_the_oom_score_are_set(box: Box) -> None:
    done = box.run(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range "
        "/proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj",
        sysctls={"net.ipv4.ip_forward": "1"},
        oom_score_adj=500,
    )
    assert done.out.split() == ["0", "0", "2147483647", "1", "500"]
    with pytest.raises(InvalidArgument, match="no settable sysctl"):
        box.run("true", sysctls={"net.ipv4.no_such_thing": "1"})


def test_extra_devices_appear_and_open(box: Box) -> None:
    done = box.run(
        "ls -l /dev/sub/nothing; cat /dev/sub/nothing | wc -c; cat /dev/kmsg 2>&1 | head -1",
        devices=[("/dev/sub/nothing", "c", 1, 3, 0o640, 5, 6, "rwm")],
    )
    assert done.out.startswith("crw-r-----") and " 5 " in done.out and "\n0\n" in done.out
    with pytest.raises(InvalidArgument, match="must lie in /dev"):
        box.run("true", devices=[("/etc/x", "c", 1, 3, 0o666, 0, 0, "r")])


def test_deleting_is_idempotent_and_ends_what_runs(box: Box) -> None:
    init = box.start("sleep 100")
    open_cgroup(init.cgroup.path).delete()
    assert init.wait() == 137
    open_cgroup(init.cgroup.path).delete()


def test_a_hundred_containers_leave_no_descriptor_mount_or_cgroup(box: Box) -> None:
    box.run("true")
    gc.collect()  # what other tests dropped must not be closed, and its numbers used again, meanwhile
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(30):
        assert box.run("true").code == 0
    with pytest.raises(EngineError):
        box.run_spec(
            {**box.spec("true"), "mounts": [{"destination": "/x", "type": "overlay", "options": ["nope"]}]}
        )
    assert sorted(os.listdir("/proc/self/fd")) == before
