"""--explain-cache says of each step why it ran; context ls says what a build can see, and why."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS tools
RUN --network=none echo tool >/tool
FROM busybox
ARG VERSION=1
ENV MODE=a
COPY src /src
RUN --network=none echo $VERSION >/version
COPY --from=tools /tool /tool
"""


@pytest.fixture(scope="module")
def tiffin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "src").mkdir(parents=True)
    for name in ("a.c", "b.c"):
        (made / "src" / name).write_text(f"{name} of {tmp_path.name}")
    (made / "Dockerfile").write_text(DOCKERFILE)
    return made


def reasons(tiffin: Tiffin, context: Path, *options: str) -> dict[str, list[str]]:
    """What was said of each step, by its instruction."""
    done = tiffin("build", "--explain-cache", *options, str(context))
    assert done.returncode == 0, done.stderr
    titles: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for line in done.stderr.splitlines():
        number, _, text = line.partition(" ")
        if number.startswith("#") and text.startswith("["):
            titles[number] = text.partition("] ")[2]
        elif text.startswith("ran because "):
            found.setdefault(titles[number], []).append(text.removeprefix("ran because "))
    return found


def test_each_change_is_named_at_the_step_that_it_concerns(tiffin: Tiffin, context: Path) -> None:
    first = reasons(tiffin, context)
    assert set(map(tuple, first.values())) == {("no build of this Dockerfile is recorded here",)}
    assert reasons(tiffin, context) == {}

    (context / "src/a.c").write_text("changed")
    (context / "src/b.c").unlink()
    (context / "src/c.c").write_text("new")
    found = reasons(tiffin, context)
    copied = found["COPY src /src"]
    assert len(copied) == 3
    assert copied[0].startswith("file src/a.c changed: ") and " to " in copied[0]
    assert copied[1:] == ["file src/b.c is gone", "file src/c.c is new"]
    assert found["RUN --network=none echo $VERSION >/version"] == ["the step before it ran: COPY src /src"]
    assert "RUN --network=none echo tool >/tool" not in found

    (context / "src/c.c").chmod(0o600)
    assert reasons(tiffin, context)["COPY src /src"] == ["the mode of file src/c.c changed: 0644 to 0600"]

    found = reasons(tiffin, context, "--build-arg", "VERSION=2")
    assert found == {
        "RUN --network=none echo $VERSION >/version": ["build argument VERSION changed"],
        "COPY --from=tools /tool /tool": [
            "the step before it ran: RUN --network=none echo $VERSION >/version"
        ],
    }


def test_changed_and_new_instructions_are_told_from_changed_surroundings(
    tiffin: Tiffin, context: Path
) -> None:
    reasons(tiffin, context)
    (context / "Dockerfile").write_text(DOCKERFILE.replace("echo tool", "echo other"))
    found = reasons(tiffin, context)
    assert found["RUN --network=none echo other >/tool"] == [
        "the instruction changed; it was: RUN --network=none echo tool >/tool"
    ]
    assert found["COPY --from=tools /tool /tool"] == [
        "the step that it takes files from is new: RUN --network=none echo other >/tool; "
        "it was: RUN --network=none echo tool >/tool"
    ]
    (context / "Dockerfile").write_text(DOCKERFILE.replace("MODE=a", "MODE=b"))
    found = reasons(tiffin, context)
    assert "COPY src /src" not in found  # which reads no variable
    assert found["RUN --network=none echo $VERSION >/version"] == ["variable MODE changed"]
    (context / "Dockerfile").write_text(DOCKERFILE + "RUN --network=none true\n")
    assert reasons(tiffin, context)["RUN --network=none true"] == ["the instruction is new"]


def test_what_counts_for_every_step_is_named_and_not_taken_for_another_base(
    tiffin: Tiffin, context: Path
) -> None:
    dockerfile = "FROM busybox\nCOPY src /src\nRUN --network=none echo here >/x\n"
    (context / "Dockerfile").write_text(dockerfile)
    reasons(tiffin, context)
    found = reasons(tiffin, context, "--build-arg", "SOURCE_DATE_EPOCH=1")
    assert found["COPY src /src"] == ["SOURCE_DATE_EPOCH is new"]
    found = reasons(tiffin, context, "--build-arg", "SOURCE_DATE_EPOCH=2")
    assert found["COPY src /src"] == ["SOURCE_DATE_EPOCH changed"]
    options = ("--build-arg", "SOURCE_DATE_EPOCH=2", "--add-host", "a:1.1.1.1")
    found = reasons(tiffin, context, *options)
    assert found == {"RUN --network=none echo here >/x": ["--add-host is new"]}
    found = reasons(tiffin, context, *options, "--add-host", "b:1.1.1.1")
    assert found == {"RUN --network=none echo here >/x": ["--add-host changed"]}


def test_a_base_that_is_another_no_cache_and_a_pruned_cache_are_named(tiffin: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM mine\nRUN --network=none echo >/x\n")
    tiffin.ok("tag", "busybox", "mine")
    step = "RUN --network=none echo >/x"
    reasons(tiffin, context)
    assert reasons(tiffin, context, "--no-cache")[step] == ["--no-cache was given"]
    tiffin.ok("builder", "prune", "-af")
    assert reasons(tiffin, context)[step] == ["nothing changed, but its result is not in the cache any more"]
    (context / "Dockerfile.base").write_text("FROM busybox\nLABEL new=1\n")
    tiffin.ok("build", "-t", "mine", "-f", str(context / "Dockerfile.base"), str(context))
    assert reasons(tiffin, context)[step] == ["the base image changed: FROM mine"]
    tiffin.ok("rmi", "mine")


def test_a_failed_step_says_why_it_ran_and_no_value_is_written_down(tiffin: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nARG TOKEN\nRUN --network=none test -z $TOKEN\n")
    reasons(tiffin, context)
    done = tiffin("build", "--explain-cache", "--build-arg", "TOKEN=hunter2hunter2", str(context))
    assert done.returncode != 0 and "ran because build argument TOKEN is new" in done.stderr
    for file in (tiffin.root / "cache").glob("steps-*.json"):
        assert b"hunter2" not in file.read_bytes()


def test_a_damaged_record_of_the_build_before_is_none(tiffin: Tiffin, context: Path) -> None:
    reasons(tiffin, context)
    for text in ("{", '{"version":1,"steps":{"x":{"key":1}}}', "[]"):
        for file in (tiffin.root / "cache").glob("steps-*.json"):
            file.write_text(text)
        (context / "src/a.c").write_text(text)
        found = reasons(tiffin, context)
        assert found["COPY src /src"] == ["no build of this Dockerfile is recorded here"]


def test_context_ls_says_what_a_build_sees_and_which_line_decided(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "vendor/deep").mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    for name in ("a.go", "b.o", "vendor/x", "vendor/deep/keep", "logs/1", "Dockerfile"):
        (tmp_path / name).write_text("12345")
    (tmp_path / ".dockerignore").write_text("# comment\n*.o\nvendor\n!vendor/deep/keep\nlogs\n")
    rows = [
        json.loads(line)
        for line in shared.ok("context", "ls", "--format", "json", str(tmp_path)).splitlines()
    ]
    assert [(row["Path"], row["Decision"], row["Rule"]) for row in rows] == [
        (".dockerignore", "sent", ""),
        ("Dockerfile", "sent", ""),
        ("a.go", "sent", ""),
        ("b.o", "left out", ".dockerignore:2: *.o"),
        ("logs/", "left out", ".dockerignore:5: logs"),
        ("vendor/", "left out", ".dockerignore:3: vendor"),
        ("vendor/deep/", "left out", ".dockerignore:3: vendor"),
        ("vendor/deep/keep", "sent", ".dockerignore:4: !vendor/deep/keep"),
        ("vendor/x", "left out", ".dockerignore:3: vendor"),
    ]
    assert rows[2]["Size"] == "5B"
    sent = shared.ok("context", "ls", "--sent", "--format", "{{.Path}}", str(tmp_path)).splitlines()
    assert sent == [row["Path"] for row in rows if row["Decision"] == "sent"]
    (tmp_path / "Dockerfile.dockerignore").write_text("*.go\n")
    left_out = shared.ok("context", "ls", "--left-out", "--format", "{{.Path}} {{.Rule}}", str(tmp_path))
    assert left_out == "a.go Dockerfile.dockerignore:1: *.go"
    done = shared("context", "ls", str(tmp_path))
    assert done.stdout.splitlines()[0].split() == ["PATH", "SIZE", "DECISION", "RULE"]
    assert "1 left out" in done.stderr
    assert "does not exist" in shared.fails("context", "ls", str(tmp_path / "none"))


def test_what_context_ls_shows_is_what_copy_copies(shared: Tiffin, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "d/e").mkdir(parents=True)
    for name in ("d/e/f", "d/g", "h"):
        (context / name).write_text("")
    (context / "evil").symlink_to("/")
    (context / ".dockerignore").write_text("d\n!d/e\n.dockerignore\nDockerfile\n")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    shared.ok("build", "-o", tmp_path / "out", str(context))
    copied = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    lines = shared.ok("context", "ls", "--sent", "--format", "{{.Path}}", str(context)).splitlines()
    seen = {line.rstrip("/") for line in lines}
    assert seen <= set(copied) and set(copied) - seen == {"d"}  # the way to what is in it
