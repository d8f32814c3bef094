"""What builds have said is kept whole, found again, and bounded."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from tests.building import Bench
from tiffin.build import StepError
from tiffin.build.progress import Notice, StepCached, StepLog, StepStarted
from tiffin.build.results import history
from tiffin.errors import Conflict, DockerfileError, NotFound

pytestmark = pytest.mark.root


def whole_log(bench: Bench, build: str) -> bytes:
    return b"".join(
        event.data for _, event in history.replay(bench.layout, build) if isinstance(event, StepLog)
    )


def pretended(bench: Bench, name: str, size: int = 10) -> str:
    """A build that somebody else made."""
    path = f"{bench.layout.root}/builds/{name}"
    os.makedirs(path)
    Path(path, "events").write_text('[1,"build","","/c",[]]\n[2,"end","Completed",""]\n')
    Path(path, "2.log").write_bytes(b"x" * size)
    return path


def test_a_log_is_kept_to_the_last_byte_however_long_it_is(based: Bench) -> None:
    based.build(
        "FROM base\nRUN i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf '\\033[31m\\377'\n"
    )
    build = history.find(based.layout)
    expected = b"".join(b"line %d\n" % n for n in range(20_000)) + b"\x1b[31m\xff"
    assert Path(history.step_log(based.layout, build, 2)).read_bytes() == expected
    assert whole_log(based, build) == expected


def test_a_build_can_be_told_again_as_it_was(based: Bench) -> None:
    based.write("file", "x")
    based.build(
        "FROM base AS a\nRUN echo one\nFROM base\nCOPY --from=a /etc/passwd /\nCOPY file /\nRUN echo two >&2\n"
    )
    told = [event for _, event in history.replay(based.layout, history.find(based.layout))]
    assert told == based.events
    based.build("FROM base AS a\nRUN echo one\n")
    pairs = list(history.replay(based.layout, history.find(based.layout)))
    assert [event for _, event in pairs] == based.events
    assert pairs == sorted(pairs, key=lambda pair: pair[0])


def test_the_graph_is_told_with_the_steps(based: Bench) -> None:
    text = "FROM base AS a\nRUN echo one\nFROM base\nENV X=1\nCOPY --from=a /etc/passwd /\n"
    based.build(text)
    nodes = {event.name: event for event in based.events if isinstance(event, StepStarted | StepCached)}
    (run,) = (event for name, event in nodes.items() if "RUN" in name)
    (copy,) = (event for name, event in nodes.items() if "COPY" in name)
    assert run.digest in copy.inputs
    known = {event.digest for event in nodes.values()}
    assert all(set(event.inputs) <= known for event in nodes.values())
    based.build(text)
    again = [event for event in based.events if isinstance(event, StepStarted | StepCached)]
    assert {event.digest for event in again} == known


def test_a_failure_says_where_its_log_is_and_what_the_dockerfile_has_there(based: Bench) -> None:
    with pytest.raises(StepError) as caught:
        based.build("FROM base\nENV A=b\nRUN echo said \\\n  && false\nRUN true\n")
    error = caught.value
    assert Path(error.log_path).read_text() == "said\n"
    assert error.build == history.find(based.layout)
    assert error.excerpt.split("\n") == [
        "Dockerfile:3",
        "--------------------",
        "   2 |     ENV A=b",
        "   3 | >>> RUN echo said \\",
        "   4 | >>>   && false",
        "   5 |     RUN true",
        "--------------------",
    ]
    (record,) = history.records(based.layout)
    assert (record.status, record.error) == ("Error", str(error))


def test_a_step_that_never_ran_shows_its_place_too(based: Bench) -> None:
    with pytest.raises(DockerfileError) as caught:
        based.build("FROM base\nCOPY nothing /\n")
    assert ">>> COPY nothing /" in caught.value.excerpt


def test_the_oldest_go_first_and_one_that_runs_or_is_the_newest_stays(
    based: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = pretended(based, "0000000000000000")
    lock = os.open(running, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    others = [f"{number:016x}" for number in range(1, history.KEPT + 3)]
    for name in others:
        pretended(based, name)
    based.build("FROM base\nRUN echo new\n")  # maybe in a process of its own, which no patch reaches
    newest = history.find(based.layout)
    names = [record.id for record in history.records(based.layout)]
    assert names == [newest, *others[: -history.KEPT : -1], "0000000000000000"]
    os.close(lock)
    monkeypatch.setattr(history, "KEPT_BYTES", 1)
    history.drop_old(based.layout)
    assert [record.id for record in history.records(based.layout)] == [newest]
    assert whole_log(based, newest) == b"new\n"


def test_logs_are_bounded_by_what_they_hold(based: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT_BYTES", 10_000)
    for number in range(1, 5):
        pretended(based, f"000000000000000{number}", 4_000)
    history.drop_old(based.layout)
    assert [record.id[-1] for record in history.records(based.layout)] == ["4", "3"]


def test_what_a_dying_remover_leaves_is_the_collector_s(
    based: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended(based, "0000000000000001")
    pretended(based, "0000000000000002")
    monkeypatch.setattr(history, "KEPT", 1)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(history, "remove_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        history.drop_old(based.layout)
    assert os.listdir(based.layout.staging) == ["old-build-0000000000000001"]
    assert len(history.records(based.layout)) == 1
    based.images.collect()
    assert os.listdir(based.layout.staging) == []


def test_a_build_that_was_killed_is_told_as_far_as_it_came(based: Bench) -> None:
    path = pretended(based, "0000000000000001")
    Path(path, "events").write_text(
        '[1,"build","","/c",[]]\n[2,"StepStarted",2,"RUN x","",[]]\n[3,"StepLog",2,1,20]\n[4,"StepDo'
    )
    (record,) = history.records(based.layout)
    assert (record.status, record.ended) == ("Canceled", 3)
    assert whole_log(based, record.id) == b"x" * 10
    lock = os.open(path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (record,) = history.records(based.layout)
    os.close(lock)
    assert (record.status, record.ended) == ("Running", 0)


def test_a_build_goes_on_when_its_log_cannot_be_kept(based: Bench) -> None:
    Path(based.layout.root, "builds").write_text("in the way")
    based.build("FROM base\nRUN echo hello\n")
    assert based.log == "hello\n"
    (notice,) = (event for event in based.events if isinstance(event, Notice))
    assert notice.text.startswith("the build's log is not kept: ")
    with pytest.raises(StepError) as caught:
        based.build("FROM base\nRUN false\n")
    assert caught.value.log_path == ""
    os.unlink(f"{based.layout.root}/builds")


def test_builds_are_found_by_the_beginning_of_their_id_or_by_how_long_ago_they_were(based: Bench) -> None:
    with pytest.raises(NotFound, match="no build is remembered"):
        history.find(based.layout)
    for name in ("aa1", "aa2", "bb3"):
        pretended(based, name)
    assert history.find(based.layout) == history.find(based.layout, "^0") == "bb3"
    assert history.find(based.layout, "^1") == history.find(based.layout, "^") == "aa2"
    assert history.find(based.layout, "b") == "bb3"
    with pytest.raises(Conflict, match="aa is the beginning of 2 builds"):
        history.find(based.layout, "aa")
    for unknown, text in (("c", "No such build: c"), ("^3", "only 3 builds"), ("../x", "No such build")):
        with pytest.raises(NotFound, match=text):
            history.find(based.layout, unknown)
    with pytest.raises(NotFound, match="step 9 of build bb3 wrote nothing"):
        history.step_log(based.layout, "bb3", 9)
