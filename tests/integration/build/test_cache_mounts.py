"""Cache mounts between builds that run at the same time, and when a build is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import Bench
from tests.command import fresh_engine
from tests.integration.build.test_run import leftovers, marked, wait_until
from tiffin.build.running import cache_mounts

pytestmark = pytest.mark.root

SCRIPT = """
import sys
sys.path[:0] = {path!r}
from tiffin.build import Builder, BuildRequest
from tiffin.build.progress import Notice, StepLog
from tiffin.build.running.run import Runner
from tiffin.content import LocalContent
from tiffin.images import Images
from tiffin.snapshot import Snapshots
from tiffin.state import Layout, open_store
layout = Layout(*{layout!r})
store = open_store(layout)
def show(event):
    if isinstance(event, StepLog):
        print(event.data.decode(), end="", flush=True)
    elif isinstance(event, Notice):
        print(event.text, flush=True)
request = BuildRequest({context!r}, {text!r}, network="none", progress=show, secrets={secrets!r})
Builder(store, Images(store, LocalContent(layout), Snapshots(store)), Runner(layout)).build(request)
"""


def start(bench: Bench, text: str, secrets: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A build in a process of its own; its logs and notices are its output."""
    path = [entry for entry in sys.path if entry]
    script = SCRIPT.format(
        path=path, layout=tuple(bench.layout), context=str(bench.context), text=text.encode(), secrets=secrets
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def data_of(bench: Bench, name: str) -> Path:
    (found,) = [each.name for each in cache_mounts.kept(bench.store) if each.id == name]
    return Path(cache_mounts.directory(bench.store), found, "data")


HOLD = (
    "FROM base\nRUN --mount=type=cache,id=c,target=/c,sharing={0} --mount=type=cache,id=gate,target=/gate "
    "echo begun; until test -e /gate/go; do sleep 0.05; done; echo first >>/c/log"
)
FOLLOW = "FROM base\nRUN --mount=type=cache,id=c,target=/c,sharing={0} echo second >>/c/log; cat /c/log"
WAITS = "waiting for the cache mount 'c', which another step has locked"


@pytest.mark.parametrize(
    ("first", "second"), [("locked", "locked"), ("shared", "locked"), ("locked", "shared")]
)
def test_a_locked_cache_mount_excludes_another_build(based: Bench, first: str, second: str) -> None:
    holder = start(based, HOLD.format(first))
    assert line_of(holder) == "begun"
    follower = start(based, FOLLOW.format(second))
    assert line_of(follower) == WAITS
    (data_of(based, "gate") / "go").touch()
    said, _ = follower.communicate(timeout=60)
    holder.communicate(timeout=60)
    assert said == "first\nsecond\n"
    assert (holder.returncode, follower.returncode) == (0, 0)


@pytest.mark.parametrize(("sharing", "said"), [("shared", "second\n"), ("private", "second\n")])
def test_one_that_is_not_locked_waits_for_nobody(based: Bench, sharing: str, said: str) -> None:
    holder = start(based, HOLD.format(sharing))
    assert line_of(holder) == "begun"
    follower = start(based, FOLLOW.format(sharing))
    assert follower.communicate(timeout=60)[0] == said
    (data_of(based, "gate") / "go").touch()
    holder.communicate(timeout=60)
    logs = sorted(
        (Path(cache_mounts.directory(based.store)) / each.name / "data" / "log").read_text()
        for each in cache_mounts.kept(based.store)
        if each.id == "c"
    )
    assert logs == (["second\nfirst\n"] if sharing == "shared" else ["first\n", "second\n"])


def test_a_build_that_waits_for_a_cache_mount_can_be_stopped(based: Bench) -> None:
    holder = start(based, HOLD.format("locked"))
    assert line_of(holder) == "begun"
    follower = start(based, FOLLOW.format("locked"))
    assert line_of(follower) == WAITS
    follower.send_signal(signal.SIGTERM)
    follower.communicate(timeout=30)
    (data_of(based, "gate") / "go").touch()
    holder.communicate(timeout=60)
    assert holder.returncode == 0
    wait_until(lambda: not leftovers(based), 30)


def test_a_killed_build_leaves_its_cache_mount_to_the_next_and_nothing_else(
    based: Bench, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hidden")
    marker = "34" + str(id(based))[-6:]
    text = (
        "FROM base AS made\nFROM base\n"
        "RUN --mount=type=cache,id=c,target=/c,sharing=locked --mount=from=made,target=/m,rw --mount=type=secret,id=s "
        f"--mount=type=tmpfs,target=/t echo kept >/c/f; touch /m/x; echo begun; sleep {marker}"
    )
    process = start(based, text, (f"id=s,src={tmp_path}/secret",))
    assert line_of(process) == "begun"
    process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: not marked(f"sleep\0{marker}"), 30)
    wait_until(lambda: not leftovers(based), 30)
    assert [each.in_use for each in cache_mounts.kept(based.store)] == [False]
    based.build("FROM base\nRUN --mount=type=cache,id=c,target=/c,sharing=locked cat /c/f")
    assert based.log == "kept\n"


def test_what_a_crash_leaves_of_cache_mounts_is_found_and_mended(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        text = "FROM busybox\nRUN --mount=type=cache,id={0},target=/c echo {0} >/c/f\n"
        for name in ("whole", "lost"):
            tiffin.ok("build", "-q", "-", input=text.format(name))
        top = tiffin.root / "cache-mounts"
        (lost,) = [path for path in top.iterdir() if (path / "data" / "f").read_text() == "lost\n"]
        lost.rename(top / ("0" * 32))
        said = tiffin("system", "fsck").stdout
        assert lost.name in said
        assert "0" * 32 in said
        tiffin("system", "fsck", "--repair")
        assert tiffin("system", "fsck").returncode == 0
        (kept,) = list(top.iterdir())
        assert (kept / "data" / "f").read_text() == "whole\n"
