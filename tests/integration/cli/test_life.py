"""Between create and rm: pause, rename, top, prune and events, as a user types them."""

import json
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin, fresh_engine
from tests.docs import run_page

pytestmark = pytest.mark.root
NONE = ("--network", "none")


@pytest.fixture
def sleeper(tiffin: Tiffin) -> Iterator[str]:
    """A running container that counts in /count, ten times a second."""
    script = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.1; done"
    name = tiffin.ok("run", "-d", *NONE, BUSYBOX, "sh", "-c", script)[:12]
    yield name
    tiffin("rm", "-f", name)


def inspected(tiffin: Tiffin, name: str, template: str) -> str:
    return tiffin.ok("inspect", "-f", template, name)


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_paused_container_stands_still_and_goes_on(tiffin: Tiffin, sleeper: str) -> None:
    upper = Path(tiffin.root, "containers", inspected(tiffin, sleeper, "{{.Id}}"), "upper", "count")
    await_that(upper.exists)
    assert tiffin.ok("pause", sleeper) == sleeper
    before = upper.read_text()
    assert (
        inspected(tiffin, sleeper, "{{.State.Status}} {{.State.Paused}} {{.State.Running}}")
        == "paused true true"
    )
    assert tiffin.ok("ps", "--format", "{{.Status}}", "--filter", f"id={sleeper}").endswith(" (Paused)")
    assert tiffin.ok("ps", "-q", "--filter", "status=paused") == sleeper
    assert "is already paused" in tiffin.fails("pause", sleeper)
    assert "is paused, unpause the container before exec" in tiffin.fails("exec", sleeper, "true")
    assert "You cannot attach to a paused container, unpause it first" in tiffin.fails("attach", sleeper)
    assert "cannot start a paused container, try unpause instead" in tiffin.fails("start", sleeper)
    assert "You cannot remove a paused container" in tiffin.fails("rm", sleeper)
    time.sleep(0.3)
    assert upper.read_text() == before
    tiffin.ok("unpause", sleeper)
    assert "is not paused" in tiffin.fails("unpause", sleeper)
    await_that(lambda: upper.read_text() not in (before, ""))
    assert inspected(tiffin, sleeper, "{{.State.Status}}") == "running"


@pytest.mark.parametrize("words", [("stop", "-t", "0"), ("kill",), ("rm", "-f")])
def test_a_paused_container_can_be_ended(tiffin: Tiffin, sleeper: str, words: tuple[str, ...]) -> None:
    tiffin.ok("pause", sleeper)
    assert tiffin.ok(*words, sleeper) == sleeper
    if words[0] != "rm":
        assert inspected(tiffin, sleeper, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"


def test_what_does_not_run_cannot_be_paused(tiffin: Tiffin) -> None:
    name = tiffin.ok("create", *NONE, BUSYBOX, "true")
    assert f"Container {name} is not running" in tiffin.fails("pause", name)
    assert "No such container: nobody" in tiffin.fails("unpause", "nobody")
    tiffin.ok("rm", name)


def test_rename_takes_the_new_name_everywhere(tiffin: Tiffin, sleeper: str) -> None:
    tiffin.ok("rename", sleeper, "renamed")
    assert inspected(tiffin, "renamed", "{{.Name}}") == "/renamed"
    other = tiffin.ok("create", *NONE, "--name", "taken", BUSYBOX, "true")
    assert 'The container name "/taken" is already in use' in tiffin.fails("rename", "renamed", "taken")
    assert "Invalid container name" in tiffin.fails("rename", "renamed", "no/slash")
    tiffin.ok("rm", other)


def test_top_shows_the_containers_processes_and_no_others(tiffin: Tiffin, sleeper: str) -> None:
    lines = tiffin.ok("top", sleeper).splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"] and all(
        "sh" in line or "sleep" in line for line in lines[1:]
    )
    assert tiffin.ok("top", sleeper, "-o", "pid,comm").splitlines()[0].split() == ["PID", "COMMAND"]
    assert "Couldn't find PID field" in tiffin.fails("top", sleeper, "-o", "comm")
    stopped = tiffin.ok("create", *NONE, BUSYBOX, "true")
    assert "is not running" in tiffin.fails("top", stopped)
    tiffin.ok("rm", stopped)


def test_prune_lists_first_and_removes_what_it_listed(tmp_path: Path) -> None:
    with fresh_engine(tmp_path) as tiffin:
        running = tiffin.ok("run", "-d", *NONE, BUSYBOX, "sleep", "1000")
        kept = tiffin.ok("create", *NONE, "--label", "keep", BUSYBOX, "true")
        gone = tiffin.ok(
            "run", "-d", *NONE, "--name", "writer", BUSYBOX, "sh", "-c", "head -c 3000000 /dev/zero > /f"
        )
        tiffin.ok("wait", gone)
        refused = tiffin("container", "prune", "--filter", "label!=keep", input="n\n")
        assert refused.returncode == 1 and "writer" in refused.stdout and kept[:12] not in refused.stdout
        assert tiffin.ok("ps", "-aq", "--no-trunc").count("\n") == 2
        out = tiffin.ok("container", "prune", "-f", "--filter", "label!=keep")
        assert out.endswith(f"Deleted Containers:\n{gone}\n\nTotal reclaimed space: 3MB")
        assert tiffin.ok("container", "prune", "-f", "--filter", "until=1h") == "Total reclaimed space: 0B"
        assert set(tiffin.ok("ps", "-aq", "--no-trunc").split()) == {running, kept}
        assert "invalid filter" in tiffin.fails("container", "prune", "-f", "--filter", "name=x")


def test_events_tell_a_containers_life_in_order(tmp_path: Path) -> None:
    with fresh_engine(tmp_path) as tiffin:
        started = time.time()
        name = tiffin.ok("run", "-d", *NONE, "--name", "one", "--label", "a=b", BUSYBOX, "sleep", "1000")
        tiffin.ok("exec", "one", "true")
        tiffin.ok("pause", "one")
        tiffin.ok("unpause", "one")
        tiffin.ok("rename", "one", "two")
        tiffin.ok("stop", "-t", "0", "two")
        tiffin.ok("rm", "two")
        assert tiffin("run", "--rm", *NONE, "--name", "short", BUSYBOX, "sh", "-c", "exit 3").returncode == 3
        words = ("events", "--since", str(started), "--until", "0s")
        told = [json.loads(line) for line in tiffin.ok(*words, "--format", "json").splitlines()]
        mine = [event for event in told if event["id"] == name]
        assert [event["Action"] for event in mine] == [
            "create", "start", "exec_create: true", "exec_start: true", "pause", "unpause", "rename", "kill", "kill",
            "die", "stop", "destroy",
        ]  # fmt: skip
        assert mine[0]["Actor"]["Attributes"] == {"a": "b", "image": BUSYBOX, "name": "one"}
        assert (
            mine[6]["Actor"]["Attributes"]["oldName"] == "/one"
            and mine[-1]["Actor"]["Attributes"]["name"] == "two"
        )
        template = "{{.Action}} {{.Actor.Attributes.exitCode}}"
        ended = tiffin.ok(
            *words, "--filter", "event=die", "--filter", "container=short", "--format", template
        )
        assert ended == "die 3"
        assert (
            tiffin.ok(*words, "--filter", "label=a=b", "--filter", "event=start").count("container start")
            == 1
        )
        assert "invalid filter 'colour'" in tiffin.fails(*words, "--filter", "colour=red")


def test_events_are_followed_as_they_happen(tmp_path: Path) -> None:
    with fresh_engine(tmp_path) as tiffin:
        watch = tiffin.start("events", "--filter", "event=start", "--format", "{{.Actor.Attributes.name}}")
        assert watch.stdout is not None
        seen: list[str] = []
        try:
            deadline = time.monotonic() + 20
            while not seen and time.monotonic() < deadline:  # the watch may begin after the first of them
                tiffin.ok("run", "--rm", *NONE, "--name", "watched", BUSYBOX, "true")
                if select.select([watch.stdout], [], [], 1.0)[0]:
                    seen.append(watch.stdout.readline())
        finally:
            watch.kill()
            watch.communicate()
        assert seen == ["watched\n"]


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        output = run_page("watching.md", tiffin, tmp_path)
    assert "(Paused)" in output and "container start" in output


def test_interrupted_events_end_quietly(tiffin: Tiffin) -> None:
    watch = tiffin.start("events")
    time.sleep(0.5)
    watch.send_signal(signal.SIGINT)
    out, err = watch.communicate(timeout=20)
    assert err == "" and watch.returncode in (130, -signal.SIGINT), (out, err)
