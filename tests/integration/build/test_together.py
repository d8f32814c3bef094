"""Several builds at the same time: what one executes the others wait for, and none of them hurts another."""

import fcntl
import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin
from tiffin.build.running import cache_mounts
from tiffin.state import locate, open_store

pytestmark = pytest.mark.root

PATIENCE = 60
WAITS = "waits for another build that executes it"


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Build:
    """A build under way; `said` is what it has shown so far."""

    def __init__(self, tiffin: Tiffin, tmp_path: Path, text: str, *words: str) -> None:
        self._path = tmp_path / f"said-{os.urandom(4).hex()}"
        if not (tmp_path / "Dockerfile").exists() or (tmp_path / "Dockerfile").read_text() != text:
            (tmp_path / "Dockerfile").write_text(text)
        with open(self._path, "wb") as file:
            self.process = tiffin.start(
                *("build", "--progress", "plain", "--network", "none", *words, str(tmp_path)),
                stdin=subprocess.DEVNULL,
                stderr=file,
            )

    @property
    def said(self) -> str:
        return self._path.read_text()

    def until(self, text: str) -> None:
        wait_until(lambda: text in self.said or self.process.poll() is not None)
        assert text in self.said

    def end(self, code: int = 0) -> str:
        self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == code, self.said
        return self.said

    @property
    def image(self) -> str:
        return self.said.splitlines()[-1].split()[1]


class Gate:
    """A file that a RUN waits for, in a cache mount of the engine."""

    def __init__(self, tiffin: Tiffin) -> None:
        self._tiffin = tiffin
        self.name = f"gate-{os.urandom(4).hex()}"

    @property
    def mount(self) -> str:
        return f"--mount=type=cache,id={self.name},target=/gate"

    @property
    def run(self) -> str:
        """The beginning of a RUN that notes in the gate that it was executed, says so, and waits."""
        return f"RUN {self.mount} echo x >>/gate/times; echo beg''un; until test -e /gate/go; do sleep 0.05; done"

    @property
    def _directory(self) -> Path:
        store = open_store(locate(str(self._tiffin.root), str(self._tiffin.run_directory)))
        try:
            (name,) = [each.name for each in cache_mounts.kept(store) if each.id == self.name]
            return Path(cache_mounts.directory(store), name, "data")
        finally:
            store.close()

    def open(self) -> None:
        (self._directory / "go").touch()

    @property
    def times(self) -> int:
        """How often what waits here was begun."""
        return len((self._directory / "times").read_text().split())


@pytest.fixture
def gate(shared: Tiffin) -> Gate:
    return Gate(shared)


@contextmanager
def everything_claimed(tiffin: Tiffin) -> Iterator[None]:
    """As if another build were executing every step there is."""
    fd = os.open(tiffin.root / "steps.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        yield
    finally:
        os.close(fd)


def leftovers(tiffin: Tiffin) -> list[str]:
    """What there is of steps under way."""
    engine = locate(str(tiffin.root), str(tiffin.run_directory)).cgroup
    found = os.listdir(tiffin.root / "staging")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if str(tiffin.root) in line]
    for where, directories, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(where) == engine:
            found += [f"{where}/{name}" for name in directories if name.startswith("build-")]
            directories.clear()
    return found


def test_a_step_that_one_build_executes_is_awaited_by_the_others(
    shared: Tiffin, tmp_path: Path, gate: Gate
) -> None:
    text = f"FROM busybox\n{gate.run}; echo {gate.name} >/made\nRUN echo after >>/made\n"
    first = Build(shared, tmp_path, text)
    first.until("begun")
    others = [Build(shared, tmp_path, text) for _ in range(2)]
    for each in others:
        each.until(WAITS)
    gate.open()
    first.end()
    for each in others:
        said = each.end()
        assert "begun" not in said
        assert f"{gate.name} >/made CACHED" in said
        assert each.image == first.image
    assert gate.times == 1
    assert (
        sum(each.said.count("DONE") for each in (first, *others)) == 3 + 2
    )  # FROM thrice, and each RUN once


def test_the_events_of_a_step_that_is_awaited_fit_together(
    shared: Tiffin, tmp_path: Path, gate: Gate
) -> None:
    text = f"FROM busybox\n{gate.run}; echo {gate.name} >/made\n"
    first = Build(shared, tmp_path, text)
    first.until("begun")
    second = Build(shared, tmp_path, text, "--progress", "rawjson")
    second.until("waiting for another build")
    gate.open()
    first.end()
    lines = [json.loads(line) for line in second.end().splitlines()]
    (status, over) = [line["statuses"][0] for line in lines if "statuses" in line]
    assert (status["id"], "completed" in status) == ("waiting for another build", False)
    assert over == {**status, "current": 1, "timestamp": over["timestamp"], "completed": over["completed"]}
    told: list[dict[str, Any]] = [
        line["vertexes"][0]
        for line in lines
        if "vertexes" in line and line["vertexes"][0]["digest"] == status["vertex"]
    ]
    assert [set(each) & {"completed", "cached"} for each in told] == [set(), {"completed", "cached"}]
    shown = shared.ok("builder", "logs")
    assert f"{WAITS}\n" in shown
    assert f"{gate.name} >/made CACHED" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_waits_can_be_stopped_and_disturbs_nobody(
    shared: Tiffin, tmp_path: Path, gate: Gate, number: signal.Signals
) -> None:
    text = f"FROM busybox\n{gate.run}; echo {gate.name} >/made\n"
    first = Build(shared, tmp_path, text)
    first.until("begun")
    second = Build(shared, tmp_path, text)
    second.until(WAITS)
    second.process.send_signal(number)
    second.process.communicate(timeout=PATIENCE)
    assert second.process.returncode in (-number, 128 + number)
    gate.open()
    first.end()
    assert gate.times == 1


@pytest.mark.parametrize("how", ["killed", "failed"])
def test_what_is_not_made_by_the_one_is_executed_by_the_other(
    shared: Tiffin, tmp_path: Path, gate: Gate, how: str
) -> None:
    text = f"FROM busybox\n{gate.run}; test -e /gate/{gate.name} || {{ touch /gate/{gate.name}; exit 7; }}\n"
    first = Build(shared, tmp_path, text)
    first.until("begun")
    second = Build(shared, tmp_path, text)
    second.until(WAITS)
    if how == "killed":
        first.process.kill()
        first.process.communicate(timeout=PATIENCE)
        second.until("begun")
        gate.open()
        second.end(1)  # it fails by itself, and then not
        assert gate.times == 2
        return
    gate.open()
    assert "returned a non-zero code: 7" in first.end(1)
    second.end()
    assert gate.times == 2


def test_a_build_without_cache_waits_for_nobody(shared: Tiffin, tmp_path: Path, gate: Gate) -> None:
    text = f"FROM busybox\n{gate.run}; echo {gate.name} >/made\n"
    first = Build(shared, tmp_path, text)
    first.until("begun")
    second = Build(shared, tmp_path, text, "--no-cache")
    second.until("begun")
    gate.open()
    first.end()
    second.end()
    assert gate.times == 2


def test_steps_that_differ_wait_for_nobody(shared: Tiffin, tmp_path: Path, gate: Gate) -> None:
    text = f"FROM busybox\nARG A\n{gate.run}; echo $A {gate.name} >/made\n"
    first = Build(shared, tmp_path, text, "--build-arg", "A=1")
    first.until("begun")
    second = Build(shared, tmp_path, text, "--build-arg", "A=2")
    second.until("begun")
    gate.open()
    assert WAITS not in first.end() + second.end()


def test_a_copy_of_many_files_is_made_once_though_its_key_is_not_known_before(
    shared: Tiffin, tmp_path: Path
) -> None:
    context = tmp_path / "files"
    context.mkdir()
    for number in range(300):
        (context / f"{number}").write_text(f"{number} {tmp_path}")
    text = "FROM scratch\nCOPY files /files\n"
    with everything_claimed(shared):
        builds = [Build(shared, tmp_path, text) for _ in range(2)]
        for each in builds:
            each.until(WAITS)
    said = "".join(each.end() for each in builds)
    assert said.count("COPY files /files CACHED") == 1
    assert builds[0].image == builds[1].image


def test_builds_that_need_each_others_steps_end(shared: Tiffin, tmp_path: Path) -> None:
    """Stages in opposite orders: nobody waits in a circle, and each is executed once."""
    builds: list[Build] = []
    for order in ("ab", "ba", "ab"):
        directory = tmp_path / str(len(builds))
        directory.mkdir()
        text = "".join(
            f"FROM busybox AS {name}\nRUN echo {name} {tmp_path} >/{name}; sleep 0.3\n" for name in order
        )
        text += "FROM scratch\n" + "".join(f"COPY --from={name} /{name} /\n" for name in "ab")
        builds.append(Build(shared, directory, text))
    assert len({each.end().splitlines()[-1] for each in builds}) == 1
    lines = [line for each in builds for line in each.said.splitlines()]
    assert len([line for line in lines if line.endswith("sleep 0.3")]) == 2


@pytest.mark.parametrize(
    ("whom", "number"),
    [
        ("command", signal.SIGINT),
        ("command", signal.SIGTERM),
        ("command", signal.SIGHUP),
        ("command", signal.SIGKILL),
        ("worker", signal.SIGTERM),
        ("worker", signal.SIGKILL),
    ],
)
def test_a_build_that_is_stopped_leaves_nothing_and_goes_on_from_what_was_done(
    shared: Tiffin, tmp_path: Path, gate: Gate, number: signal.Signals, whom: str
) -> None:
    text = (
        f"FROM busybox AS beside\nRUN echo beside {gate.name} >/done\n"
        f"FROM busybox\nCOPY --from=beside /done /\nRUN echo one {gate.name} >/one\nWORKDIR /two/three\n"
        f"{gate.run}; echo {gate.name} >/made\n"
    )
    first = Build(shared, tmp_path, text)
    first.until("begun")
    pid = first.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in [str(pid)] if whom == "command" else workers:
        os.kill(int(each), number)
    first.process.communicate(timeout=PATIENCE)
    if whom == "command":
        assert first.process.returncode in (-number, 128 + number)
    else:
        assert first.process.returncode == 1, first.said
    wait_until(lambda: not leftovers(shared))
    gate.open()
    again = Build(shared, tmp_path, text).end()
    steps = [line for line in again.splitlines() if "] " in line and "] FROM" not in line]
    assert [line.endswith(" CACHED") for line in steps] == [True] * 4 + [False]
    assert shared("system", "fsck").returncode == 0


def test_builds_beside_prune_and_rmi_give_whole_images(shared: Tiffin, tmp_path: Path) -> None:
    """What a build found, or is about to name, stays, whatever others remove meanwhile."""
    source = tmp_path / "src"
    source.mkdir()
    for number in range(250):
        (source / f"{number}").write_text(f"{number} {tmp_path}")
    text = (
        f"FROM busybox AS a\nARG N\nRUN echo {tmp_path} $N >/a\nFROM busybox AS b\nCOPY src /src\nRUN rm /src/1\n"
        "FROM busybox\nCOPY --from=a /a /\nCOPY --from=b /src /x\nARG N\nRUN echo made $N >/n\n"
    )
    removals = [
        ("builder", "prune", "-af"),
        ("rmi", "-f", "together:0"),
        ("image", "prune", "-f"),
        ("builder", "prune", "-f", "--keep-storage", "1kb"),
    ]
    for turn in range(3):
        builds = [
            Build(shared, tmp_path, text, "-t", f"together:{n}", "--build-arg", f"N={(turn + n) % 2}")
            for n in range(2)
        ]
        rounds = 0
        while any(each.process.poll() is None for each in builds):
            done = shared(*removals[rounds % len(removals)])
            assert done.returncode == 0 or "No such image" in done.stderr, done.stderr
            rounds += 1
        for n, each in enumerate(builds):
            each.end()
            test = f'test "$(cat /n)" = "made {(turn + n) % 2}" && test -f /x/249 && ! test -e /x/1'
            done = shared("run", "--rm", "--network", "none", each.image, "sh", "-c", test)
            assert done.returncode == 0 or "No such image" in done.stderr, done.stderr
    for removal in removals:
        shared(*removal)
    assert "nothing is damaged" in shared.ok("system", "fsck")
