"""`tiffin build` as a user types it: where its context comes from, what it is lent, how it refuses."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import agents, await_none, make_key, parent
from tests.command import Tiffin, fresh_engine
from tests.integration.build.test_transfer import archive
from tests.webserver import Answer, WebServer, Work

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


def test_a_context_from_standard_input_and_what_cannot_come_from_there_twice(
    tiffin: Tiffin, tmp_path: Path
) -> None:
    (tmp_path / "a.tgz").write_bytes(
        archive({"Dockerfile": "FROM busybox\nCOPY f /f\n", "f": "of the archive"})
    )
    with (tmp_path / "a.tgz").open("rb") as stream:
        tiffin.ok("build", "-q", "-t", "streamed", "-", stdin=stream)
    assert tiffin.ok("run", "--rm", "streamed", "cat", "/f") == "of the archive"
    assert "can't use stdin for both" in tiffin.fails("build", "-f", "-", "-", input="FROM busybox")


def test_a_url_and_a_git_reference_as_context(tiffin: Tiffin, web: WebServer, work: Work) -> None:
    web.answer({"/a.tgz": Answer(archive({"Dockerfile": "FROM busybox\nCOPY f /f\n", "f": "1"}))})
    work.commit(
        {"Dockerfile": "FROM scratch\n", "other/Dockerfile": "FROM busybox\nCOPY g /f\n", "other/g": "2"}
    )
    for name, context, expected in (
        ("web", f"{web.url}/a.tgz", "1"),
        ("git", f"{web.url}/git/project.git#:other", "2"),
    ):
        tiffin.ok("build", "-q", "-t", f"from-{name}", context)
        assert tiffin.ok("run", "--rm", f"from-{name}", "cat", "/f") == expected
    said = tiffin("build", "--check", f"{web.url}/a.tgz")
    assert (said.returncode, said.stdout.strip()) == (0, "Check complete, no warnings found.")


def test_secrets_contexts_and_entitlements_reach_the_build(tiffin: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "f").write_text("an asset")
    (tmp_path / "token").write_text("hunter2")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY --from=assets f /f\n"
        'RUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B test "$(cat /run/secrets/a)$B" = hunter2env\n'
        "RUN --network=host ls /sys/class/net >/nets\n"
    )
    words = [
        "build",
        "-q",
        "-t",
        "lent",
        "--build-context",
        f"assets={tmp_path}/assets",
        "--allow",
        "network.host",
    ]
    words += ["--secret", f"id=a,src={tmp_path}/token", "--secret", "id=b,env=OF_MINE", str(tmp_path)]
    tiffin.ok(*words, env={**os.environ, "OF_MINE": "env"})
    assert tiffin.ok("run", "--rm", "lent", "cat", "/f") == "an asset"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--allow", "everything"], "use network.host or security.insecure"),
        (["--secret", "id=x,src=/nowhere"], "cannot read the secret 'x'"),
        (["--secret", "src=/etc/passwd"], "needs an id"),
        (["--ssh", "default=/nowhere"], "--ssh default: '/nowhere'"),
        (["--build-context", "x"], "want NAME=PATH"),
        (["--build-context", "a b=/tmp"], "invalid --build-context name"),
        (["--platform", "a/b/c/d"], "invalid platform"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    tiffin: Tiffin, tmp_path: Path, options: list[str], text: str
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    assert text in tiffin.fails("build", *options, str(tmp_path))


def test_a_right_that_was_not_granted_is_named_with_the_line(tiffin: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN --security=insecure true\n")
    done = tiffin("build", "-q", str(tmp_path))
    *shown, said = done.stderr.splitlines()
    assert done.returncode == 1 and "   2 | >>> RUN --security=insecure true" in shown
    assert "Dockerfile:2: RUN" in said
    assert "--allow security.insecure" in said


def test_a_program_with_threads_builds_from_a_stream_too(tmp_path: Path) -> None:
    """By Python, whose other thread makes the build a process of its own."""
    import threading

    from tiffin.engine import Engine

    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    with fresh_engine(tmp_path / "engine") as made:
        (tmp_path / "a.tgz").write_bytes(archive({"Dockerfile": "FROM busybox\nCOPY f /f\n", "f": "x"}))
        thread.start()
        try:
            with (
                Engine(str(made.root), str(made.run_directory)) as engine,
                (tmp_path / "a.tgz").open("rb") as stream,
            ):
                engine.builder.build("-", stdin=stream.fileno(), tags=("threaded",))
        finally:
            done.set()
            thread.join()
        assert made.ok("run", "--rm", "threaded", "cat", "/f") == "x"


def test_the_agent_of_a_build_that_is_killed_ends_too(tiffin: Tiffin, tmp_path: Path) -> None:
    key, before = make_key(tmp_path / "key", "of the project"), agents()
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN --mount=type=ssh echo begun && sleep 1000\n")
    build = tiffin.start("build", "--progress", "plain", "--ssh", f"default={key}", tmp_path)
    assert build.stderr is not None
    while "begun" not in (line := build.stderr.readline()):
        assert line, "the build has ended"
    (agent,) = (
        pid for pid in agents() - before if str(tiffin.root) in os.readlink(f"/proc/{parent(pid)}/cwd")
    )
    os.kill(parent(parent(agent)), signal.SIGKILL)
    build.communicate(timeout=60)
    assert build.returncode
    await_none(before)
