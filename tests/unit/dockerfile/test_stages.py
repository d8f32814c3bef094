"""Stages: names, targets and what is needed for one."""

from __future__ import annotations

import pytest

from tiffin.dockerfile.instructions import Copy
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import DockerfileError

FILE = b"""\
ARG BASE=tools
FROM alpine AS tools
FROM tools AS build
COPY --from=2 / /
"""

GRAPH = b"""\
ARG BASE=tools
FROM alpine AS tools
FROM ${BASE} AS build
FROM debian AS docs
FROM docs AS unused
FROM scratch
COPY --from=build /a /a
COPY --from=2 /b /b
COPY --from=nginx /c /c
"""


def test_only_the_stages_that_a_target_needs_are_reachable() -> None:
    dockerfile = parse_dockerfile(GRAPH)
    values = dockerfile.evaluate_global_args({}, {})
    assert [each.title for each in dockerfile.reachable(dockerfile.target(), values)] == [
        "tools",
        "build",
        "docs",
        "4",
    ]
    assert [each.title for each in dockerfile.reachable(dockerfile.target("unused"), values)] == [
        "docs",
        "unused",
    ]


def test_a_build_argument_can_change_what_a_stage_begins_with() -> None:
    dockerfile = parse_dockerfile(GRAPH)
    build = dockerfile.target("build")
    values = dockerfile.evaluate_global_args({"BASE": "busybox"}, {})
    assert dockerfile.base_image(build, values) == "busybox"
    assert dockerfile.base_stage(build, values) is None
    assert [each.title for each in dockerfile.reachable(build, values)] == ["build"]


def test_stages_are_found_by_name_in_any_case_and_by_number() -> None:
    dockerfile = parse_dockerfile(GRAPH)
    assert dockerfile.target("BUILD").index == 1
    assert dockerfile.target("3").name == "unused"
    assert dockerfile.stage("nope") is None
    assert dockerfile.stage("build", before=1) is None
    assert dockerfile.stage("99") is None


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(GRAPH).target("biuld")
    assert str(caught.value) == "Dockerfile: target stage biuld could not be found (did you mean build?)"


def test_copying_by_number_from_a_later_stage_is_refused() -> None:
    with pytest.raises(DockerfileError, match=r"^Dockerfile:4: COPY: no stage has the number 2$"):
        parse_dockerfile(FILE)


def test_the_source_of_a_copy_is_a_stage_an_image_or_the_context() -> None:
    dockerfile = parse_dockerfile(GRAPH)
    last = dockerfile.target()
    found = [
        dockerfile.source(copy.from_, copy, last) for copy in last.instructions if isinstance(copy, Copy)
    ]
    assert [stage and stage.title for stage in found] == ["build", "docs", None]


def test_a_stage_does_not_begin_with_one_that_comes_later() -> None:
    dockerfile = parse_dockerfile(b"FROM two AS one\nFROM a AS two\n")
    assert dockerfile.base_stage(dockerfile.stages[0], {}) is None


def test_predefined_arguments_reach_from_lines() -> None:
    dockerfile = parse_dockerfile(b"ARG A=$TARGETARCH\nFROM img-$A\n")
    values = dockerfile.evaluate_global_args({}, {"TARGETARCH": "arm64"})
    assert dockerfile.base_image(dockerfile.target(), values) == "img-arm64"
