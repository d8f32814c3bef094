"""Logs, attach, exec and terminals."""

import os
import pty
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin import (
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    CreateOptions,
    ExecOptions,
    LogQuery,
    NotFound,
    Streams,
)

pytestmark = pytest.mark.root


class Collected:
    """What came to a stream so far."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, data: bytes) -> None:
        self.data += data


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[list[object]]:
    """Run `work` beside the block and wait for it; its result is in the list afterwards."""
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    yield result
    thread.join(20)
    assert not thread.is_alive()


# Logs


def test_the_log_has_both_streams_in_order_and_in_dockers_form(ground: Ground) -> None:
    import json

    container = ground.start("sh", "-c", "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf rest")
    ground.containers.wait(container)
    lines = list(ground.containers.logs(container, LogQuery()))
    assert [(line.stream, line.data) for line in lines] == [
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"rest"),
    ]
    with open(ground.containers.inspect(container)["LogPath"]) as file:
        first = json.loads(file.readline())
    assert first["log"] == "one\n"
    assert first["stream"] == "stdout"
    assert first["time"] == lines[0].time
    assert first["time"].endswith("Z")


def test_tail_and_single_streams(ground: Ground) -> None:
    container = ground.start("sh", "-c", "seq 1 50; sleep 0.1; echo err >&2")
    ground.containers.wait(container)
    tail = [line.data for line in ground.containers.logs(container, LogQuery(tail=3))]
    assert tail == [b"49\n", b"50\n", b"err\n"]
    assert [line.data for line in ground.containers.logs(container, LogQuery(stdout=False))] == [b"err\n"]
    assert not list(ground.containers.logs(container, LogQuery(tail=0)))


def test_following_gives_every_line_as_it_comes_and_ends_with_the_container(ground: Ground) -> None:
    container = ground.start("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    lines = [line.data for line in ground.containers.logs(container, LogQuery(follow=True))]
    assert lines == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]


def test_a_flood_is_followed_without_loss_across_rotations(ground: Ground) -> None:
    from tiffin.containers import LogConfig

    log = LogConfig(max_size=1 << 20, max_file=100)
    container = ground.start("sh", "-c", "sleep 0.2; seq 1 100000", log=log)
    lines = [line.data for line in ground.containers.logs(container, LogQuery(follow=True))]
    assert lines == [b"%d\n" % number for number in range(1, 100001)]


def test_old_logs_are_dropped(ground: Ground) -> None:
    from tiffin.containers import LogConfig

    container = ground.start("seq", "1", "100000", log=LogConfig(max_size=100_000, max_file=2))
    ground.containers.wait(container)
    directory = f"{ground.root}/containers/{container}"
    logs = sorted(name for name in os.listdir(directory) if name.startswith("container.log"))
    assert logs == ["container.log", "container.log.1"]
    assert list(ground.containers.logs(container, LogQuery()))[-1].data == b"100000\n"


# Attach


def test_an_attached_client_gets_output_from_then_on_and_the_exit_code(ground: Ground) -> None:
    container = ground.start("sh", "-c", "read line; echo got $line; exit 4", open_stdin=True)
    out = Collected()
    assert ground.containers.attach(container, Streams(b"hello\n", out, out)) == 4
    assert out.data == b"got hello\n"


def test_the_end_of_an_attached_clients_input_is_not_the_containers(ground: Ground) -> None:
    container = ground.start("cat", open_stdin=True)
    out = Collected()
    with in_thread(lambda: ground.containers.attach(container, Streams(b"one\n", out, out))):
        await_that(lambda: out.data == b"one\n")
        second = Collected()
        with in_thread(lambda: ground.containers.attach(container, Streams(b"two\n", second, second))):
            await_that(lambda: second.data == b"two\n" and out.data == b"one\ntwo\n")
            ground.containers.kill(container)


def test_attaching_to_what_does_not_run_is_refused(ground: Ground) -> None:
    with pytest.raises(Conflict, match="You cannot attach to a stopped container, start it first"):
        ground.containers.attach(ground.create("true"), Streams())


def test_a_client_that_does_not_read_holds_the_container_back_and_one_that_left_does_not(
    ground: Ground,
) -> None:
    container = ground.start("sh", "-c", "sleep 0.3; yes | head -c 3000000 | tail -c 2; echo done")
    with ground.engine._workspace.store():
        from tiffin.supervisor import control
        from tiffin.supervisor.frames import Kind, frame

        idle = control.connect(ground.engine.layout, container)
        assert idle is not None
        idle.sendall(frame(Kind.ATTACH, b"\x06"))
    idle.close()
    assert ground.containers.wait(container) == 0
    assert ground.logs(container).endswith(b"done\n")


# Exec


def test_exec_runs_beside_with_the_containers_own_surroundings(ground: Ground) -> None:
    container = ground.start("sleep", "1000", env=("A=1",), workdir="/var", user="user")
    code, out, err = ground.exec(container, "sh", "-c", 'echo "$A $(pwd) $(id -u)"; echo e >&2; exit 3')
    assert (code, out, err) == (3, b"1 /var 1000\n", b"e\n")
    code, out, _ = ground.exec(
        container, "sh", "-c", 'echo "$A $B $(pwd) $(id -u)"', env=("A=2", "B=3"), workdir="/tmp", user="0"
    )
    assert (code, out) == (0, b"2 3 /tmp 0\n")


def test_exec_passes_stdin_and_its_end(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    data = os.urandom(300_000)
    assert ground.exec(container, "cat", stdin=data) == (0, data, b"")


def test_exec_of_what_is_not_there(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    with pytest.raises(CommandNotFound, match=r'exec: "nope": executable file not found in \$PATH'):
        ground.exec(container, "nope")
    with pytest.raises(CommandNotExecutable, match="permission denied"):
        ground.exec(container, "/etc/passwd")


def test_exec_in_what_does_not_run_is_refused(ground: Ground) -> None:
    container = ground.create("true")
    with pytest.raises(Conflict, match=f"Container {container} is not running"):
        ground.exec(container, "true")
    with pytest.raises(NotFound, match="No such container: nobody"):
        ground.exec("nobody", "true")


def test_a_detached_exec_goes_on_alone(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    ground.containers.exec_detached(container, ExecOptions(("sh", "-c", "sleep 0.1; touch /mark")))
    await_that(lambda: ground.exec(container, "test", "-e", "/mark")[0] == 0)


def test_exec_does_not_wait_for_what_its_command_left_behind(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    assert ground.exec(container, "sh", "-c", "sleep 500 & echo started") == (0, b"started\n", b"")


# Terminals


class Terminal:
    """The user's terminal: `end` is what programs hold, what is typed and shown goes through `master`."""

    def __init__(self) -> None:
        self.master, self.end = pty.openpty()
        self.resize(33, 99)
        self.shown = b""
        os.set_blocking(self.master, False)

    def resize(self, rows: int, columns: int) -> None:
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def shows(self, text: bytes) -> bool:
        try:
            self.shown += os.read(self.master, 65536)
        except BlockingIOError:
            pass
        return text in self.shown

    def close(self) -> None:
        os.close(self.master)
        os.close(self.end)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def test_a_shell_at_a_terminal_has_its_size_and_ends_with_its_exit_code(
    ground: Ground, terminal: Terminal
) -> None:
    container = ground.create("sh", tty=True, open_stdin=True)
    streams = Streams(terminal.end, terminal.end, terminal.end)
    with in_thread(lambda: ground.containers.start_attached(container, streams)) as result:
        terminal.type(b"stty size; tty; exit 5\r")
        await_that(lambda: terminal.shows(b"33 99"))
        await_that(lambda: terminal.shows(b"/dev/pts/0"))
    assert result == [5]


def test_the_detach_keys_leave_it_running(ground: Ground, terminal: Terminal) -> None:
    container = ground.create("sh", tty=True, open_stdin=True)
    streams = Streams(terminal.end, terminal.end, terminal.end)
    with in_thread(lambda: ground.containers.start_attached(container, streams)) as result:
        terminal.type(b"echo one$((1+1))\r")
        await_that(lambda: terminal.shows(b"one2"))
        terminal.type(b"\x10\x11")
    assert result == [None]
    assert ground.state(container)["Status"] == "running"
    terminal.shown = b""
    with in_thread(lambda: ground.containers.attach(container, streams)) as result:
        terminal.type(b"exit 3\r")
    assert result == [3]


def test_exec_with_a_terminal(ground: Ground, terminal: Terminal) -> None:
    container = ground.start("sleep", "1000")
    streams = Streams(terminal.end, terminal.end, terminal.end)
    options = ExecOptions(
        ("sh", "-c", "tty; read line; stty size; echo got $line; exit 6"), tty=True, open_stdin=True
    )
    with in_thread(lambda: ground.containers.exec(container, options, streams)) as result:
        await_that(lambda: terminal.shows(b"/dev/pts/"))
        terminal.type(b"word\r")
        await_that(lambda: terminal.shows(b"got word"))
    assert result == [6]
    assert terminal.shows(b"33 99")


def test_run_gives_the_terminal_back_as_it_was(ground: Ground, terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.end)
    options = CreateOptions("busybox", ("true",), tty=True, open_stdin=True, network="none", auto_remove=True)
    streams = Streams(terminal.end, terminal.end, terminal.end)
    assert ground.containers.run(options, streams)[1] == 0
    assert termios.tcgetattr(terminal.end) == before
