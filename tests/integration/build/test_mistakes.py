"""What is wrong with a Dockerfile, a context or the options of a build is said with its place, its lines and the word
that was probably meant; the exit code is Docker's."""

from pathlib import Path

import pytest

from tests.building import Bench
from tests.command import Tiffin
from tiffin.errors import DockerfileError, TiffinError

pytestmark = pytest.mark.root

WRONG = [
    ("COPPY f /", "Dockerfile:2: unknown instruction: COPPY (did you mean COPY?)"),
    (
        "RUN --mout=type=cache,target=/x true",
        "Dockerfile:2: RUN: unknown flag: --mout (did you mean --mount?)",
    ),
    ("RUN --mount=type=cahce,target=/x true", "(did you mean cache?)"),
    ("RUN --mount=type=cache,taget=/x true", "unexpected key 'taget' in --mount (did you mean target?)"),
    ("RUN --mount=type=cache,target=/x,sharing=lokced true", "(did you mean locked?)"),
    ("RUN --network=hots true", "Dockerfile:2: RUN: unsupported --network=hots (did you mean host?)"),
    ("RUN --security=sandbx true", "(did you mean sandbox?)"),
    ("ADD --cheksum=sha256:0 http://x/y /", "ADD: unknown flag: --cheksum (did you mean --checksum?)"),
    ("HEALTHCHECK --intervall=5s CMD x", "HEALTHCHECK: unknown flag: --intervall (did you mean --interval?)"),
    ("HEALTHCHECK CMMD x", "(did you mean CMD?)"),
    ("STOPSIGNAL SIGTREM", "Dockerfile:2: STOPSIGNAL: invalid signal: SIGTREM (did you mean SIGTERM?)"),
    ("COPY Program /", "COPY: 'Program' does not exist in the build context (did you mean program?)"),
    ("COPY d/porgram /", "COPY: 'd/porgram' does not exist in the build context (did you mean program?)"),
    ("COPY secert /", "COPY: 'secert' does not exist in the build context"),
    ("COPY --from=bulider /x /", "Dockerfile:2: COPY: No such image: bulider"),
    ("FROM bulider", "Dockerfile:2: FROM: No such image: bulider"),
    ("FROM busybxo", "(did you mean busybox?)"),
    ("FROM --platform=linux/amd46 alpine", "(did you mean linux/amd64?)"),
    ("FROM --platform=linxu/arm64 alpine", "(did you mean linux/arm64?)"),
    ("FROM $BULDER", "Dockerfile:2: FROM: base name ($BULDER) should not be blank"),
    ("ENV A=${B", "Dockerfile:2: ENV: ${B: no closing '}' of a '${'"),
    ("EXPOSE 80/tpc", "use tcp, udp or sctp"),
    ("USER", "Dockerfile:2: USER: requires exactly one argument"),
    ("RUN <<EOF", "Dockerfile:2: RUN: unterminated here-document"),
    ("FROM base AS 1x", "Dockerfile:2: FROM: invalid name for build stage: 1x"),
]


@pytest.fixture
def stocked(based: Bench) -> Bench:
    for name in ("program", "d/program", "secret"):
        based.write(name, name)
    based.write(".dockerignore", "secret\n")
    return based


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_a_mistake_is_told_with_its_place_its_lines_and_what_was_meant(
    stocked: Bench, line: str, said: str
) -> None:
    with pytest.raises(DockerfileError) as caught:
        stocked.build(f"FROM base AS builder\n{line}\n")
    assert said in str(caught.value)
    assert f"   2 | >>> {line}" in caught.value.excerpt.split("\n")
    if "bulider" in line:
        assert str(caught.value).endswith("(did you mean builder?)")
    assert "mean secret" not in str(caught.value)  # it is left out of the context


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("FROM base AS builder\n", {"target": "bulider"}, "stage bulider could not be found (did you mean builder?)"),
        ("", {}, "Dockerfile: no instructions: a Dockerfile begins with FROM"),
        ("# only this\n", {}, "Dockerfile: no instructions"),
        ("ARG A\n", {}, "Dockerfile: no FROM: a Dockerfile needs at least one"),
        ("FROM alpine\n", {"platform": "linux/amd46"}, "(did you mean linux/amd64?)"),
    ],
)  # fmt: skip
def test_so_is_a_mistake_of_the_whole_file_or_of_an_option(
    stocked: Bench, text: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(TiffinError) as caught:
        stocked.build(text, **options)
    assert said in str(caught.value)


def test_a_build_argument_that_nothing_takes_is_told_with_what_was_meant(stocked: Bench) -> None:
    result = stocked.build("FROM base\nARG VERSION\n", build_args={"VERSON": "1"})
    assert "One or more build-args [VERSON] were not consumed (did you mean VERSION?)" in result.warnings
    result = stocked.build("FROM base\nARG VERSION\n", build_args={"VERSION": "1", "Z": ""})
    assert result.warnings[0] == "One or more build-args [Z] were not consumed"


def test_the_command_says_so_too_with_dockers_exit_codes(shared: Tiffin, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    assert "'Dockerfile' does not exist" in shared.fails("build", context)
    (context / "dockerfile").write_text("FROM busybox\nCOPPY x /\n\nRUN a\nRUN b\nRUN c\n")
    assert "(did you mean dockerfile?); choose one with -f" in shared.fails("build", context)
    for options in (("-q",), ("--progress", "plain"), ("--check",)):
        done = shared("build", *options, "-f", context / "dockerfile", context)
        *shown, last = done.stderr.splitlines()
        assert done.returncode == 1 and last.endswith(":2: unknown instruction: COPPY (did you mean COPY?)")
        place = f"{context}/dockerfile:2"
        assert shown[shown.index(place) + 1 :] == [
            *("-" * 20, "   1 |     FROM busybox", "   2 | >>> COPPY x /", "   3 |     ", "   4 |     RUN a"),
            "-" * 20,
        ]
    assert "does not exist" in shared.fails("build", tmp_path / "nowhere")
    assert "is not a directory" in shared.fails("build", context / "dockerfile")
    shared.fails("build", code=1)
    shared.fails("build", "a", "b", code=1)
    shared.fails("build", "--taget", "x", context, code=125)
