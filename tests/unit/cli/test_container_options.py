"""What the options of `run` and `create` come to, and Docker's words for values that are none."""

from pathlib import Path

import pytest

from tiffin.cli.container_options import add_container_options, create_options
from tiffin.cli.parser import CommandParser
from tiffin.cli.table import COMMANDS
from tiffin.containers.record import Device
from tiffin.engine.options import CreateOptions
from tiffin.errors import InvalidArgument, NotFound, TiffinError, Unsupported


def options(*words: str) -> CreateOptions:
    parser = CommandParser(next(command for command in COMMANDS if command.short == "run"))
    add_container_options(parser)
    return create_options(parser.parse([*words, "image"]), detached=True, attach_stdin=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/dev/fuse", Device("/dev/fuse", "/dev/fuse", "rwm")),
        ("/dev/fuse:r", Device("/dev/fuse", "/dev/fuse", "r")),
        ("/dev/fuse:/dev/x", Device("/dev/fuse", "/dev/x", "rwm")),
        ("/dev/fuse:/dev/x:rw", Device("/dev/fuse", "/dev/x", "rw")),
        ("/dev//snd/", Device("/dev/snd", "/dev/snd", "rwm")),
    ],
)
def test_a_device(text: str, found: Device) -> None:
    assert options("--device", text).devices == (found,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "bad format for path: "),
        (":/dev/x", "bad format for path: :/dev/x"),
        ("/dev/a:/dev/b:rw:m", "bad format for path: /dev/a:/dev/b:rw:m"),
        ("/dev/a:/dev/b:rx", "bad mode specified: rx"),
        ("/dev/a:/dev/b:", "bad mode specified: "),
        ("/dev/a:rr", "rr is not an absolute path"),
        ("dev/a", "dev/a is not an absolute path"),
    ],
)
def test_a_device_that_is_none(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options("--device", text)
    assert str(caught.value) == f'invalid argument "{text}" for "--device": {why}'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nofile=10", ("nofile", 10, 10)),
        ("nofile=10:20", ("nofile", 10, 20)),
        ("core=-1", ("core", -1, -1)),
        ("core=0:-1", ("core", 0, -1)),
    ],
)
def test_a_ulimit(text: str, found: tuple[str, int, int]) -> None:
    assert options("--ulimit", text).ulimits == (found,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nofile", "invalid ulimit argument: nofile"),
        ("as=1", "invalid ulimit type: as"),
        ("NOFILE=1", "invalid ulimit type: NOFILE"),
        ("nofile=1:2:3", "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`"),
        ("nofile=x", "a limit is a whole number, or -1 for none"),
        ("nofile=", "a limit is a whole number, or -1 for none"),
        ("nofile=-2", "a limit is a whole number, or -1 for none"),
        ("nofile=20:10", "ulimit soft limit must be less than or equal to hard limit: 20 > 10"),
        (
            "nofile=-1:10",
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 10",
        ),
    ],
)
def test_a_ulimit_that_is_none(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options("--ulimit", text)
    assert str(caught.value) == f'invalid argument "{text}" for "--ulimit": {why}'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10mbit", (10**7, 10**7)),
        ("10mbit:500kbit", (10**7, 500_000)),
        ("1.5Gbit", (1_500_000_000, 1_500_000_000)),
        (":1mbit", (0, 10**6)),
        ("1mbit:", (10**6, 0)),
        ("64000", (64_000, 64_000)),
    ],
)
def test_a_bandwidth(text: str, found: tuple[int, int]) -> None:
    resources = options("--bandwidth", text).resources
    assert (resources.bandwidth_in, resources.bandwidth_out) == found


@pytest.mark.parametrize(
    "text", ["fast", "10mb", "1mbit:2mbit:3mbit", ":", "1kbit", "10pbit", "-1mbit", "999tbit"]
)
def test_a_bandwidth_that_is_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match='for "--bandwidth"'):
        options("--bandwidth", text)


def test_limits_on_block_devices() -> None:
    found = options(
        *(
            "--blkio-weight",
            "300",
            "--blkio-weight-device",
            "/dev/a:200",
            "--blkio-weight-device",
            "/dev/b:0",
        ),
        *("--device-read-bps", "/dev/a:1mb", "--device-write-bps", "/dev/a:512"),
        *("--device-read-iops", "/dev/a:100", "--device-write-iops", "/dev/a:9"),
    ).resources
    assert found.blkio_weight == 300
    assert found.blkio_weight_device == (("/dev/a", 200), ("/dev/b", 0))
    assert found.device_read_bps == (("/dev/a", 1 << 20),)
    assert found.device_write_bps == (("/dev/a", 512),)
    assert found.device_read_iops == (("/dev/a", 100),)
    assert found.device_write_iops == (("/dev/a", 9),)


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("--blkio-weight-device", "/dev/a", "bad format: /dev/a"),
        ("--blkio-weight-device", "a:10", "bad format for device path: a:10"),
        ("--blkio-weight-device", "/dev/a:5", "invalid weight for device: /dev/a:5"),
        ("--blkio-weight-device", "/dev/a:1001", "invalid weight for device: /dev/a:1001"),
        (
            "--device-read-bps",
            "/dev/a:fast",
            "invalid rate for device: /dev/a:fast. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
        ),
        (
            "--device-write-iops",
            "/dev/a:1k",
            "invalid rate for device: /dev/a:1k. The correct format is <device-path>:<number>. "
            "Number must be a positive integer",
        ),
        ("--device-cgroup-rule", "c 1:3", "invalid device cgroup format 'c 1:3'"),
        ("--device-cgroup-rule", "d 1:3 rwm", "invalid device cgroup format 'd 1:3 rwm'"),
        ("--device-cgroup-rule", "c 1:3 rwmx", "invalid device cgroup format 'c 1:3 rwmx'"),
    ],
)
def test_values_that_are_none(option: str, text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options(option, text)
    assert str(caught.value) == f'invalid argument "{text}" for "{option}": {why}'


def test_device_rules_namespaces_and_annotations_are_handed_on() -> None:
    found = options(
        *("--device-cgroup-rule", "c *:* m", "--pid", "host", "--ipc", "shareable", "--uts", "host"),
        *("--userns", "host", "--cgroupns", "private", "--cgroup-parent", "/a", "--annotation", "x=y"),
        *("--volumes-from", "other:ro"),
    )
    assert found.device_rules == ("c *:* m",)
    assert (found.pid, found.ipc, found.uts, found.userns, found.cgroupns) == (
        "host", "shareable", "host", "host", "private",
    )  # fmt: skip
    assert (found.cgroup_parent, found.annotations, found.volumes_from) == ("/a", ("x=y",), ("other:ro",))


def test_a_seccomp_profile_becomes_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert options("--security-opt", "seccomp=p.json").security_opts == (f"seccomp={tmp_path}/p.json",)
    assert options("--security-opt", "seccomp=builtin").security_opts == ("seccomp=builtin",)
    with pytest.raises(NotFound, match=r"opening seccomp profile \(absent\) failed"):
        options("--security-opt", "seccomp=absent")


def test_labels_of_a_file_come_before_those_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("# theirs\na=1\n\nb\n")
    assert options("--label-file", f"{tmp_path}/labels", "-l", "a=2").labels == ("a=1", "b", "a=2")


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["--gpus", "all"], Unsupported, 'could not select device driver "" with capabilities: [[gpu]]'),
        (["--storage-opt", "size=1g"], Unsupported, "--storage-opt is supported only for overlay over xfs"),
    ],
)
def test_what_there_is_not_is_refused(words: list[str], kind: type[TiffinError], text: str) -> None:
    with pytest.raises(kind) as caught:
        options(*words)
    assert text in str(caught.value)
