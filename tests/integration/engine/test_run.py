"""Running to the end: streams, exit codes, what the command sees, and that nothing is left."""

import os

import pytest

from tests.integration.engine.conftest import Ground
from tiffin import CommandNotExecutable, CommandNotFound, CreateOptions, InvalidArgument, NotFound

pytestmark = pytest.mark.root


def test_output_comes_apart_and_the_exit_code_comes_through(ground: Ground) -> None:
    assert ground.run("sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


def test_stdin_reaches_the_command_and_its_end_too(ground: Ground) -> None:
    data = os.urandom(1 << 20)
    assert ground.run("cat", stdin=data) == (0, data, b"")


def test_without_stdin_the_command_reads_nothing(ground: Ground) -> None:
    assert ground.run("cat") == (0, b"", b"")


def test_a_lot_of_output_arrives_whole_and_in_order(ground: Ground) -> None:
    code, out, _ = ground.run("seq", "1", "200000")
    assert code == 0
    assert out == b"".join(b"%d\n" % number for number in range(1, 200001))


def test_the_command_sees_what_was_asked_for(ground: Ground) -> None:
    script = 'echo "$A $HOME $(pwd) $(id -u):$(id -g) $(hostname) $HOSTNAME"'
    code, out, _ = ground.run("sh", "-c", script, env=("A=1",), user="user", workdir="/var", hostname="lunch")
    assert (code, out) == (0, b"1 /home /var 1000:1000 lunch lunch\n")


def test_the_hostname_is_the_short_id(ground: Ground) -> None:
    done = ground.engine.run("busybox", ["hostname"], network="none")
    assert done.output.strip() == done.id[:12]


def test_a_command_that_is_not_there(ground: Ground) -> None:
    with pytest.raises(CommandNotFound, match=r'exec: "nope": executable file not found in \$PATH'):
        ground.run("nope")


def test_a_command_that_cannot_be_executed(ground: Ground) -> None:
    with pytest.raises(CommandNotExecutable, match="permission denied"):
        ground.run("/etc/passwd")


def test_a_container_that_could_not_start_stays_with_the_reason(ground: Ground) -> None:
    container = ground.create("nope")
    with pytest.raises(CommandNotFound):
        ground.containers.start(container)
    state = ground.state(container)
    assert (state["Status"], state["ExitCode"]) == ("created", 127)
    assert "not found" in str(state["Error"])


def test_an_unknown_image(ground: Ground) -> None:
    with pytest.raises(NotFound, match="No such image: nothing"):
        ground.containers.create(CreateOptions("nothing", ("true",)))


def test_an_image_without_a_command(ground: Ground) -> None:
    with pytest.raises(InvalidArgument, match="No command specified"):
        ground.create()


def test_what_a_removed_container_wrote_is_gone(ground: Ground) -> None:
    assert ground.run("touch", "/mark")[0] == 0
    assert ground.run("test", "-e", "/mark")[0] == 1


def test_a_volume_outlives_its_container_and_an_anonymous_one_does_not(ground: Ground) -> None:
    assert ground.run("sh", "-c", "echo kept > /v/file", volumes=("data:/v", "/scratch"))[0] == 0
    assert ground.run("cat", "/v/file", volumes=("data:/v:ro",))[1] == b"kept\n"
    rows = os.listdir(f"{ground.root}/volumes")
    assert rows == ["data"]


def test_a_fresh_volume_has_what_the_image_has_there(ground: Ground) -> None:
    assert ground.run("ls", "/etc", volumes=("filled:/etc",))[1].split() == sorted(
        [b"group", b"hostname", b"hosts", b"passwd", b"resolv.conf"]
    )


def test_a_bind_mount_shows_the_host_directory(ground: Ground, tmp_path: object) -> None:
    code, out, _ = ground.run("sh", "-c", "echo x > /here/made; ls /here", volumes=(f"{tmp_path}:/here",))
    assert (code, out) == (0, b"made\n")
    assert os.listdir(str(tmp_path)) == ["made"]


def test_a_read_only_root_refuses_writes_but_not_in_its_tmpfs(ground: Ground) -> None:
    code, _, err = ground.run("sh", "-c", "touch /t/a && touch /b", read_only=True, tmpfs=("/t",))
    assert code == 1
    assert b"Read-only file system" in err


def test_with_a_bridge_there_is_an_address_and_hosts_knows_it(ground: Ground) -> None:
    code, out, _ = ground.run(
        "sh", "-c", "ip -o -4 addr show eth0 | grep -c inet; grep -c $(hostname) /etc/hosts", network="bridge"
    )
    assert (code, out) == (0, b"1\n1\n")


def test_a_hundred_in_a_row_leave_nothing(ground: Ground) -> None:
    for _ in range(100):
        assert ground.run("true")[0] == 0
    ground.assert_clean()
