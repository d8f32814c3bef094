"""What RUN steps have around them by the options of a build, what they may take, and which stages run anew."""

import json
from pathlib import Path

import pytest

from tests.command import Tiffin

pytestmark = pytest.mark.root


def build(shared: Tiffin, directory: Path, text: str, *words: str) -> str:
    """What a build says."""
    (directory / "Dockerfile").write_text(text)
    done = shared("build", "--progress", "plain", "--network", "none", *words, str(directory))
    assert done.returncode == 0, done.stderr
    return str(done.stderr)


def test_hosts_shared_memory_and_ulimits_are_as_asked_for_and_count_for_the_cache(
    shared: Tiffin, tmp_path: Path
) -> None:
    text = (
        "FROM busybox\nRUN cat /etc/hosts; grep /dev/shm /proc/mounts; grep -i 'open files' /proc/self/limits; "
        f"echo {tmp_path.name}\n"
    )
    options = ("--add-host", "db:10.0.0.5", "--add-host", "six=[fd00::5]", "--shm-size", "16m")
    said = build(
        shared, tmp_path, text, *options, "--ulimit", "nofile=77:88", "--add-host", "me:host-gateway"
    )
    for line in ("10.0.0.5\tdb", "fd00::5\tsix", "127.0.0.1\tme", "size=16384k", "77                   88"):
        assert line in said
    assert "CACHED" in build(
        shared, tmp_path, text, *options, "--ulimit", "nofile=77:88", "--add-host", "me:host-gateway"
    )
    assert "CACHED" not in build(shared, tmp_path, text)
    assert "CACHED" not in build(shared, tmp_path, text, "--shm-size", "16m")


def test_limits_hold_and_change_no_result(shared: Tiffin, tmp_path: Path) -> None:
    """A command that wants more memory than it may have is killed."""
    greedy = f"FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1 && echo {tmp_path.name}\n"
    (tmp_path / "Dockerfile").write_text(greedy)
    words = ("build", "--network", "none", "-m", "32m", "--memory-swap", "32m", str(tmp_path))
    refused = shared(*words)
    assert refused.returncode == 1
    assert "returned a non-zero code: 137" in refused.stderr
    build(shared, tmp_path, greedy)
    assert "CACHED" in build(
        shared, tmp_path, greedy, "-m", "1g", "--cpu-shares", "100", "--cpuset-cpus", "0"
    )


def test_stages_that_are_named_run_anew_and_no_others(shared: Tiffin, tmp_path: Path) -> None:
    text = (
        f"FROM busybox AS One\nRUN echo {tmp_path.name} >/one\nFROM busybox AS two\nRUN echo {tmp_path.name} >/two\n"
        "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    )
    build(shared, tmp_path, text)
    said = build(shared, tmp_path, text, "--no-cache-filter", "one,three", "--explain-cache")
    assert "--no-cache-filter: no stage is called three" in said
    assert said.count("ran because --no-cache-filter names its stage") == 1
    assert f"[one 2/2] RUN echo {tmp_path.name} >/one\n" in said
    assert f"[two 2/2] RUN echo {tmp_path.name} >/two CACHED" in said
    assert "CACHED" in build(shared, tmp_path, text)


@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        (("--rm=false",), "--rm=false: a step leaves no container that could stay; see --shell-on-fail", 1),
        (("--provenance=mode=max",), "--provenance=mode=max: tiffin makes no attestations", 1),
        (("--sbom",), "--sbom: tiffin makes no attestations", 1),
        (("--attest", "type=sbom"), "--attest=type=sbom: tiffin makes no attestations", 1),
        (("-m", "1m"), "Minimum memory limit allowed is 6MB", 1),
        (("--add-host", "x"), "bad format for add-host: 'x'", 1),
        (("--ulimit", "x=1"), "invalid ulimit type: x", 1),
        (("--shm-size", "x"), 'invalid argument "x" for "--shm-size"', 1),
        (("--call", "lines"), 'invalid argument "lines" for "--call"', 1),
        (("--call", "outline,format=xml"), 'invalid argument "outline,format=xml" for "--call"', 1),
        (("--check", "--call", "targets"), "--check and --call=targets cannot both be", 1),
        (("--call", "outline", "--target", "x"), "target stage x could not be found", 1),
    ],
)
def test_what_is_not_done_or_makes_no_sense_is_refused(
    shared: Tiffin, tmp_path: Path, words: tuple[str, ...], text: str, code: int
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert text in shared.fails("build", *words, str(tmp_path), code=code)


def test_what_is_not_done_may_be_declined(shared: Tiffin, tmp_path: Path) -> None:
    declined = (
        "--provenance=false",
        "--sbom=false",
        "--attest",
        "type=sbom,disabled=true",
        "--rm",
        "--force-rm=true",
    )
    build(shared, tmp_path, "FROM scratch\nLABEL a=b\n", *declined)


OFFERS = """\
# VERSION of the base image
ARG VERSION=latest
# base has the tools
FROM busybox:$VERSION AS base
# MODE is fast or slow
ARG MODE=fast
RUN --mount=type=secret,id=token,required true
FROM scratch AS other
# release is for users
FROM base AS release
RUN --mount=type=ssh --mount=type=cache,target=/c true
"""


def test_call_lists_targets_and_what_one_takes(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(OFFERS)
    assert shared.ok("build", "--call", "targets", tmp_path).splitlines() == [
        "TARGET              DESCRIPTION",
        "base                has the tools",
        "other",
        "release (default)   is for users",
    ]
    listed = shared.ok("build", "--call=outline", "--build-arg", "MODE=slow", tmp_path)
    assert [" ".join(line.split()) for line in listed.splitlines()] == [
        "TARGET: release", "DESCRIPTION: is for users", "",
        "BUILD ARG VALUE DESCRIPTION", "VERSION latest of the base image", "MODE slow is fast or slow", "",
        "SECRET REQUIRED", "token true", "", "SSH REQUIRED", "default", "", "CACHE", "/c",
    ]  # fmt: skip
    assert shared.ok("build", "--call=outline", "--target", "other", tmp_path).splitlines() == [
        "TARGET:   other"
    ]


def test_call_gives_json_in_the_shapes_of_buildkit(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(OFFERS)
    found = json.loads(shared.ok("build", "--call", "targets,format=json", tmp_path))
    assert [each.get("name") for each in found["targets"]] == ["base", "other", "release"]
    assert [each.get("default", False) for each in found["targets"]] == [False, False, True]
    assert found["targets"][0]["location"] == {"ranges": [{"start": {"line": 4}, "end": {"line": 4}}]}
    found = json.loads(shared.ok("build", "--call", "outline,format=json", tmp_path))
    assert (found["name"], found["description"]) == ("release", "is for users")
    assert [(each["name"], each["value"]) for each in found["args"]] == [
        ("VERSION", "latest"),
        ("MODE", "fast"),
    ]
    assert (found["secrets"][0]["name"], found["secrets"][0]["required"]) == ("token", True)
    assert ([each["name"] for each in found["ssh"]], [each["ID"] for each in found["cache"]]) == (
        ["default"],
        ["/c"],
    )
    (tmp_path / "Dockerfile").write_text("FROM scratch as x\n")
    done = shared("build", "--call", "check,format=json", tmp_path)
    assert done.returncode == 1
    (warning,) = json.loads(done.stdout)["warnings"]
    assert (warning["ruleName"], warning["location"]["ranges"][0]["start"]["line"]) == ("FromAsCasing", 1)


def test_a_mistake_is_shown_with_its_lines(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPPY a b\n")
    done = shared("build", "--call", "targets", tmp_path)
    assert done.returncode == 1
    assert ">>> COPPY a b" in done.stderr
    assert "did you mean COPY?" in done.stderr
