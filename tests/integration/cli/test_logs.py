"""logs as a user types it, with every driver that can be read, and a real syslog server."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin, fresh_engine
from tests.docs import run_page

pytestmark = pytest.mark.root


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_a_followed_flood_loses_nothing(tiffin: Tiffin, driver: str) -> None:
    name = f"flood-{driver}"
    tiffin.ok("run", "-d", "--network", "none", "--name", name, "--log-driver", driver, BUSYBOX,
              "sh", "-c", "yes | head -c 2000000; seq 1 1000 >&2")  # fmt: skip
    done = tiffin("logs", "-f", name)
    assert done.stdout == "y\n" * 1000000
    assert done.stderr == "".join(f"{number}\n" for number in range(1, 1001))
    assert tiffin("logs", "--tail", "3", name).stderr == "998\n999\n1000\n"
    tiffin.ok("rm", name)


def test_times_and_details_begin_every_line(tiffin: Tiffin) -> None:
    tiffin.ok("run", "--network", "none", "--name", "detailed", "--label", "team=blue", "-e", "A=1", "--log-opt",
              "labels=team", "--log-opt", "env=A", "--log-opt", "tag={{.Name}}", BUSYBOX,
              "printf", "a\\nb\\nc")  # fmt: skip
    lines = tiffin("logs", "--details", "-t", "detailed").stdout.split("\n")
    assert [line.split(" ", 1)[1] for line in lines] == [
        f"A=1,tag=detailed,team=blue {letter}" for letter in "abc"
    ]
    assert all(line.split("Z ")[0].count(":") == 2 for line in lines)
    stored = Path(tiffin.root, "containers").glob("*/container.log")
    documents = [
        json.loads(line) for path in stored for line in path.read_text().splitlines() if "attrs" in line
    ]
    assert {"A": "1", "tag": "detailed", "team": "blue"} in [document["attrs"] for document in documents]
    tiffin.ok("rm", "detailed")


def test_no_log_says_so(tiffin: Tiffin) -> None:
    tiffin.ok("run", "--network", "none", "--name", "silent", "--log-driver", "none", BUSYBOX, "echo", "x")
    assert "configured logging driver does not support reading" in tiffin.fails("logs", "silent")
    tiffin.ok("rm", "silent")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--log-driver", "fluentd"], "no log driver named 'fluentd' is registered"),
        (["--log-opt", "max-sise=1m"], "unknown log opt 'max-sise' for json-file log driver"),
        (["--log-opt", "max-size"], "want NAME=VALUE"),
        (["--log-driver", "journald"], "journald is not enabled on this host"),
    ],
)
def test_wrong_options_make_no_container(tiffin: Tiffin, options: list[str], words: str) -> None:
    if "journald" in options and Path("/run/systemd/journal/socket").exists():
        pytest.skip("this machine has a journal")
    before = tiffin.ok("ps", "-aq")
    assert words in tiffin.fails("run", *options, BUSYBOX, "true", code=125)
    assert tiffin.ok("ps", "-aq") == before


def test_a_real_syslog_server_gets_every_line(tiffin: Tiffin, tmp_path: Path) -> None:
    received = tmp_path / "received"
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{tmp_path}/log")\n'
        'template(name="plain" type="string"'
        ' string="%syslogfacility-text%.%syslogseverity-text% %programname% %msg%\\n")\n'
        f'*.* action(type="omfile" file="{received}" template="plain")\n'
    )
    server = subprocess.Popen(["rsyslogd", "-n", "-f", str(configuration), "-i", str(tmp_path / "pid")])
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "log").exists():
            assert server.poll() is None and time.monotonic() < deadline, "rsyslogd did not start"
            time.sleep(0.02)
        tiffin.ok("run", "--network", "none", "--name", "sent", "--log-driver", "syslog", "--log-opt",
                  f"syslog-address=unixgram://{tmp_path}/log", "--log-opt", "syslog-facility=local3", "--log-opt",
                  "tag={{.Name}}", BUSYBOX, "sh", "-c", "echo one; echo two >&2")  # fmt: skip
        while not received.exists() or received.read_text().count(" sent ") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        server.terminate()
        server.wait()
    lines = [line for line in received.read_text().splitlines() if " sent " in line]
    assert sorted(lines) == ["local3.err sent  two", "local3.info sent  one"]
    assert tiffin("logs", "sent").stdout == "one\n"
    tiffin.ok("rm", "sent")


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        output = run_page("logs.md", tiffin, tmp_path)
    assert "team=blue hello" in output and "oh dear" in output
