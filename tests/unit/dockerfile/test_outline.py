"""What a Dockerfile offers: its targets, and what one of them takes."""

import pytest

from tiffin.dockerfile.outline import Outline, outline, targets
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import DockerfileError

TEXT = """\
# syntax=docker/dockerfile:1
# VERSION of the base image
ARG VERSION=1.0
ARG UNUSED=1
ARG PLATFORM=linux/amd64
# base   has the tools
FROM --platform=$PLATFORM busybox:${VERSION:-2} AS Base
# about nothing
# MODE is fast or slow
# and more of it
ARG MODE=fast
ARG TARGETOS
RUN --mount=type=secret,id=token --mount=type=ssh --mount=type=cache,target=/c true
FROM scratch
ARG NOTHING
ENV A=x
FROM base AS release
ARG MODE
ARG DERIVED=$MODE-$VERSION
ARG VERSION
RUN --mount=type=secret,id=token,required --mount=type=ssh,id=deploy,required true
"""
PREDEFINED = {"TARGETOS": "linux", "TARGETPLATFORM": "linux/amd64"}


def of(target: str = "", **given: str) -> Outline:
    return outline(parse_dockerfile(TEXT.encode()), target, given, PREDEFINED)


def parameters(found: Outline) -> list[tuple[str, str, str, str, bool]]:
    return [(one.kind, one.name, one.value, one.description, one.required) for one in found.parameters]


def test_targets_are_the_stages_with_what_comments_say_of_them() -> None:
    found = targets(parse_dockerfile(TEXT.encode()))
    assert [(one.name, one.index, one.default, one.base, one.platform) for one in found] == [
        ("base", 0, False, "busybox:${VERSION:-2}", "$PLATFORM"),
        ("", 1, False, "scratch", ""),
        ("release", 2, True, "base", ""),
    ]
    assert [one.description for one in found] == ["has the tools", "", ""]
    assert (found[0].line, found[2].line) == (7, 17)


def test_an_outline_has_what_the_target_and_the_stages_that_it_needs_take() -> None:
    assert parameters(of(VERSION="3")) == [
        ("arg", "VERSION", "3", "of the base image", False),
        ("arg", "PLATFORM", "linux/amd64", "", False),
        ("arg", "MODE", "fast", "is fast or slow", False),
        ("secret", "token", "", "", True),
        ("ssh", "default", "", "", False),
        ("cache", "/c", "", "", False),
        ("arg", "DERIVED", "-", "", False),
        ("ssh", "deploy", "", "", True),
    ]
    assert [name for _, name, *_ in parameters(of("1"))] == ["NOTHING"]
    assert of("BASE", MODE="slow").target.name == "base"
    assert ("arg", "MODE", "slow", "is fast or slow", False) in parameters(of("base", MODE="slow"))


def test_a_target_that_is_not_there_is_refused() -> None:
    with pytest.raises(DockerfileError, match=r"target stage relaese could not be found.*release"):
        of("relaese")
