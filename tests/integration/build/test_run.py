"""What a RUN sees, what it leaves in its layer, and what it leaves behind: nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.build import StepError
from tiffin.build.progress import StepLog

pytestmark = pytest.mark.root


def output(bench: Bench, text: str, **options: object) -> list[str]:
    bench.build(text, no_cache=True, **options)
    return bench.log.split("\n")[:-1]


def test_shell_and_exec_form(based: Bench) -> None:
    assert output(based, 'FROM base\nRUN echo "$0"\nRUN ["/bin/echo", "$0", "a b"]') == ["/bin/sh", "$0 a b"]
    based.write("shell", "#!/bin/sh\nshift; echo chosen: $*", 0o755)
    assert output(based, 'FROM base\nCOPY shell /\nSHELL ["/shell", "-x"]\nRUN a  b') == ["chosen: a b"]


def test_here_documents_are_scripts_for_the_shell_or_for_their_own_interpreter(based: Bench) -> None:
    assert output(based, "FROM base\nRUN <<EOF\necho a\necho $0\nEOF") == ["a", "/bin/sh"]
    assert output(based, "FROM base\nRUN <<EOF\n#!/bin/cat\nwhole file\nEOF") == ["#!/bin/cat", "whole file"]
    assert "dev" not in based.layer_names()
    assert output(based, "FROM base\nRUN cat <<EOF\ntext\nEOF") == ["text"]


def test_environment_user_and_directory_are_the_stages(based: Bench) -> None:
    lines = output(
        based,
        "FROM base\nENV A=1\nARG B=2\nWORKDIR /w/x\nUSER app\nRUN pwd; id -u; id -g; id -G; echo $A$B; echo $HOME",
    )
    assert lines == ["/w/x", "1234", "2345", "2345", "12", "/home/app"]


def test_a_user_by_number_needs_no_entry(based: Bench) -> None:
    assert output(based, "FROM base\nUSER 4321:77\nRUN id -u; id -g; echo $HOME") == ["4321", "77", "/"]


def test_input_is_empty_and_both_outputs_are_told_apart(based: Bench) -> None:
    based.build("FROM base\nRUN cat; echo out; echo err >&2")
    streams = {event.stream: event.data for event in based.events if isinstance(event, StepLog)}
    assert streams == {1: b"out\n", 2: b"err\n"}


def test_mount_points_of_the_engine_are_not_in_the_layer(based: Bench) -> None:
    seen = "/etc/hosts /etc/resolv.conf /etc/hostname /proc/1/stat"
    based.build(f"FROM base\nRUN test -c /dev/null && cat {seen} && touch /x")
    assert based.layer_names() == ["x"]
    based.build("FROM base\nRUN echo y >/etc/y")
    assert based.layer_names() == ["etc", "etc/y"]
    based.build("FROM base\nRUN echo changed >>/etc/hosts; rm -f /etc/hosts; true")
    assert based.document()["history"][-1]["empty_layer"] is True


def test_mount_points_that_the_image_has_stay_as_they_are(based: Bench) -> None:
    based.write("hosts", "mine")
    based.build("FROM base\nCOPY hosts /etc/hosts\nCOPY hosts /proc/\nRUN touch /x\nRUN rm -rf /x")
    with based.tree() as top:
        assert (top / "etc" / "hosts").read_text() == "mine"
        assert os.listdir(top / "proc") == ["hosts"]
    assert based.layer_names() == ["x"]


def test_a_resolv_conf_that_is_a_dangling_link_gets_a_file_for_the_time_of_the_run(based: Bench) -> None:
    based.build(
        "FROM base\nRUN ln -s ../run/systemd/resolve/stub-resolv.conf /tmp/link\n"
        "COPY --from=base /etc/passwd /x\nRUN true"
    )
    (based.context / "tree" / "etc").mkdir(parents=True)
    (based.context / "tree" / "etc" / "resolv.conf").symlink_to("../run/resolve/stub.conf")
    based.build("FROM base\nCOPY tree /\nRUN grep . /etc/resolv.conf && touch /x")
    assert based.layer_names() == ["x"]
    with based.tree() as top:
        assert os.readlink(top / "etc" / "resolv.conf") == "../run/resolve/stub.conf"
        assert not (top / "run").exists()


def test_deleted_files_are_gone_in_the_image_and_the_layer_says_so(based: Bench) -> None:
    based.build("FROM base\nRUN rm /etc/group && rm -r /usr/lib && mkdir /usr/lib")
    with based.tree() as top:
        assert not (top / "etc" / "group").exists()
        assert os.listdir(top / "usr" / "lib") == []


def test_a_run_on_scratch_fails_for_want_of_a_shell(bench: Bench) -> None:
    with pytest.raises(StepError, match="/bin/sh"):
        bench.build("FROM scratch\nRUN true")


def test_capabilities_are_those_of_a_container(based: Bench) -> None:
    lines = output(based, "FROM base\nRUN grep CapEff /proc/self/status; grep Seccomp: /proc/self/status")
    assert lines[0].split()[1] != "000001ffffffffff"
    assert lines[1].split()[1] == "2"


def test_processes_left_in_the_background_end_with_the_step(based: Bench) -> None:
    begun = time.monotonic()
    based.build("FROM base\nRUN sleep 600 & echo done")
    assert time.monotonic() - begun < 60
    assert based.log == "done\n"


def test_a_command_killed_by_a_signal_has_dockers_code(based: Bench) -> None:
    with pytest.raises(StepError) as caught:
        based.build("FROM base\nRUN sh -c 'kill -9 $$'; exit $?")
    assert caught.value.status == 137


def leftovers(bench: Bench) -> list[str]:
    """What of this engine is still to be seen on the machine."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        found = [line for line in lines if bench.layout.root in line]
    for where, directories, _ in os.walk("/sys/fs/cgroup"):
        found += [
            f"{where}/{name}"
            for name in directories
            if bench.layout.engine in f"{where}/{name}" and name.startswith("build-")
        ]
        if where.count("/") > 5:
            directories.clear()
    return found + os.listdir(bench.layout.staging)


def test_builds_leave_no_mount_cgroup_or_file_behind(based: Bench) -> None:
    based.build("FROM base\nRUN true\nRUN echo x >/x\nCOPY --from=base /etc /y")
    with pytest.raises(StepError):
        based.build("FROM base\nRUN mkdir -p /a/b && exit 1")
    assert leftovers(based) == []


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from tiffin.build import Builder, BuildRequest
from tiffin.build.progress import StepLog
from tiffin.build.running.run import Runner
from tiffin.content import LocalContent
from tiffin.images import Images
from tiffin.snapshot import Snapshots
from tiffin.state import Layout, open_store
layout = Layout(*{layout!r})
store = open_store(layout)
images = Images(store, LocalContent(layout), Snapshots(store))
def show(event):
    if isinstance(event, StepLog):
        print(event.data.decode(), end="", flush=True)
request = BuildRequest({context!r}, dockerfile={text!r}, tags=("built",), network="none", progress=show)
try:
    Builder(store, images, Runner(layout)).build(request)
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(bench: Bench, text: bytes) -> subprocess.Popen[str]:
    path = [entry for entry in sys.path if entry]
    script = SCRIPT.format(path=path, layout=tuple(bench.layout), context=str(bench.context), text=text)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def wait_until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def marked(marker: str) -> list[str]:
    """Processes whose command line has the marker."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker in Path(f"/proc/{pid}/cmdline").read_text(errors="replace") and int(pid) != os.getpid():
                found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [2, 15, 9])
def test_a_build_that_is_killed_takes_its_container_with_it(based: Bench, number: int) -> None:
    marker = f"31{os.getpid()}{number}"
    process = start(based, f"FROM base\nRUN echo begun; sleep {marker}".encode())
    wait_until(lambda: marked(f"sleep\0{marker}"))
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode in (-number, 130)
    wait_until(lambda: not marked(f"sleep\0{marker}"))
    wait_until(lambda: not leftovers(based))


@pytest.mark.registry
def test_names_resolve_and_packages_come_in_a_run(based: Bench) -> None:
    """Over the bridge, with the machine's own name server."""
    based.build(
        "FROM base\nRUN wget -q -O /dev/null http://deb.debian.org/debian/dists/stable/Release && echo fetched",
        network="bridge",
        build_args={name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
    )
    assert based.log == "fetched\n"


def test_a_container_left_by_a_killed_worker_and_builder_is_taken_down_by_the_next_build(
    based: Bench,
) -> None:
    marker = f"32{os.getpid()}9"
    process = start(based, f"FROM base\nRUN echo begun; sleep {marker}".encode())
    wait_until(lambda: marked(f"sleep\0{marker}"))
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(19)  # stopped: it cannot answer to what happens to its worker
    for pid in workers:
        os.kill(int(pid), 9)
    process.kill()
    process.communicate(timeout=30)
    based.build("FROM base\nRUN true")
    wait_until(lambda: not marked(f"sleep\0{marker}"))
    based.images.collect()
    assert leftovers(based) == []


def test_a_worker_that_is_killed_is_an_error_and_nothing_stays(based: Bench) -> None:
    marker = f"33{os.getpid()}9"
    process = start(based, f"FROM base\nRUN echo begun; sleep {marker}".encode())
    wait_until(lambda: marked(f"sleep\0{marker}"))
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(pid), 9)
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert not marked(f"sleep\0{marker}")
    based.images.collect()
    assert leftovers(based) == []


def test_a_program_with_threads_builds_too(based: Bench) -> None:
    import threading

    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        result = based.build(
            "FROM base\nARG A\nRUN echo $A; echo x >/x", build_args={"A": "1"}, labels={"l": "v"}
        )
        assert based.log == "1\n"
        assert based.executed == ["[2/2] RUN echo $A; echo x >/x"]
        assert based.images.resolve("built").id == result.image_id
        with pytest.raises(StepError, match=r"Dockerfile:2: RUN: .*code: 3") as caught:
            based.build("FROM base\nRUN echo said; exit 3")
        assert (caught.value.status, caught.value.log) == (3, "said\n")
    finally:
        done.set()
        thread.join()


def test_a_run_starts_with_no_signal_ignored_and_no_descriptor_of_ours(based: Bench) -> None:
    lines = output(based, "FROM base\nRUN grep SigIgn /proc/self/status; ls /proc/self/fd")
    assert lines[0].split()[1] == "0" * 16
    assert lines[1:] == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
