"""Rules about FROM: stages' names, platforms, and the arguments in base names."""

from __future__ import annotations

import re

from tiffin.dockerfile.lint.rule import Found, Rule, found
from tiffin.dockerfile.lint.subject import Subject, keyword
from tiffin.dockerfile.place import nearest
from tiffin.dockerfile.shell_words import Watched, expand
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.oci.platform import parse_platform
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tiffin.dockerfile.instructions import From

_RESERVED = ("context", "scratch")
_TARGET_PLATFORM = "TARGETPLATFORM"


def _named(subject: Subject) -> Iterator[tuple[From, str, str]]:
    """Each FROM with a name, its AS, and the name as written."""
    for stage in subject.dockerfile.stages:
        if stage.name:
            as_, name = stage.base.source.split()[-2:]
            yield stage.base, as_, name


def _stage_name_casing(subject: Subject) -> Iterator[Found]:
    for base, _, name in _named(subject):
        if name != name.lower():
            yield found(base, f"Stage name '{name}' should be lowercase")


def _from_as_casing(subject: Subject) -> Iterator[Found]:
    for base, as_, _ in _named(subject):
        from_ = keyword(base)
        wanted = {from_.lower(): as_.lower(), from_.upper(): as_.upper()}.get(from_, as_)
        if as_ != wanted:
            yield found(base, f"'{as_}' and '{from_}' keywords' casing do not match")


def _duplicate_stage_name(subject: Subject) -> Iterator[Found]:
    seen: set[str] = set()
    for base, _, _ in _named(subject):
        if base.name in seen:
            yield found(base, f'Duplicate stage name "{base.name}", stage names should be unique')
        seen.add(base.name)


def _reserved_stage_name(subject: Subject) -> Iterator[Found]:
    for base, _, _ in _named(subject):
        if base.name in _RESERVED:
            yield found(base, f'Stage name should not use the same name as reserved stage "{base.name}"')


def _evaluated(word: str, values: Mapping[str, str], escape: str) -> tuple[str | None, tuple[str, ...]]:
    """The word's value, None where it has none, and the variables in it that are not there."""
    env = Watched(values)
    try:
        return expand(word, env, escape), env.undefined
    except InvalidArgument:
        return None, env.undefined


def _undefined_arg_in_from(subject: Subject) -> Iterator[Found]:
    values = subject.global_values()
    declared = {name for arg in subject.dockerfile.global_args for name, _ in arg.pairs} | values.keys()
    for stage in subject.dockerfile.stages:
        for word in (stage.base.image, stage.base.platform):
            for name in _evaluated(word, values, subject.dockerfile.escape)[1]:
                if name not in declared:
                    hint = nearest(name, sorted(declared))
                    yield found(stage.base, f"FROM argument '{name}' is not declared{hint}")


def _invalid_default_arg_in_from(subject: Subject) -> Iterator[Found]:
    values = subject.global_values({})
    for stage in subject.dockerfile.stages:
        written = stage.base.image
        image, _ = _evaluated(written, values, subject.dockerfile.escape)
        if image is not None and image != written and not _is_image(image):
            yield found(
                stage.base, f"Default value for ARG {written} results in empty or invalid base image name"
            )


def _is_image(name: str) -> bool:
    try:
        parse_reference(name)
    except TiffinError:
        return False
    return True


def _variables(word: str) -> list[str]:
    return re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", word)


def _redundant_target_platform(subject: Subject) -> Iterator[Found]:
    for stage in subject.dockerfile.stages:
        written = stage.base.platform
        if written in (f"${_TARGET_PLATFORM}", f"${{{_TARGET_PLATFORM}}}"):
            yield found(
                stage.base,
                f"Setting platform to predefined {written} in FROM is redundant as this is the default behavior",
            )


def _from_platform_flag_const_disallowed(subject: Subject) -> Iterator[Found]:
    for stage in subject.dockerfile.stages:
        written = stage.base.platform
        if not written or _variables(written):
            continue
        try:
            platform = parse_platform(written)
        except InvalidArgument:
            continue  # the build says so itself
        if platform.os not in stage.name and platform.architecture not in stage.name:
            yield found(stage.base, f'FROM --platform flag should not use constant value "{written}"')


def _invalid_base_image_platform(subject: Subject) -> Iterator[Found]:
    values, bases = subject.global_values(), subject.bases()
    for stage in subject.stages:
        image, _ = _evaluated(stage.base.image, values, subject.dockerfile.escape)
        asked, _ = _evaluated(stage.base.platform, values, subject.dockerfile.escape)
        if stage.index in bases or not image or asked is None:
            continue
        known = subject.platforms(image, asked)
        if known is not None and known[0][:2] != known[1][:2]:
            actual, expected = known
            yield found(
                stage.base,
                f'Base image {image} was pulled with platform "{actual}", expected "{expected}" for current build',
            )


STAGE_NAME_CASING = Rule(
    name="StageNameCasing",
    text="Stage names should be lowercase",
    why="Names of stages mean the same in any case, so upper case says nothing and makes a reference harder"
    " to find. Instructions are usually written in upper case; a lower-case name stands out from them.",
    bad="FROM alpine AS BuilderBase\n",
    good="FROM alpine AS builder-base\n",
    find=_stage_name_casing,
)
FROM_AS_CASING = Rule(
    name="FromAsCasing",
    text="The 'as' keyword should match the case of the 'from' keyword",
    why="Both are keywords of one instruction. Writing one in upper case and the other in lower case works "
    "and reads as a slip; write `FROM ... AS` or `from ... as`.",
    bad="FROM alpine as builder\n",
    good="FROM alpine AS builder\n",
    find=_from_as_casing,
)
DUPLICATE_STAGE_NAME = Rule(
    name="DuplicateStageName",
    text="Stage names should be unique",
    why="Of two stages with one name only the later can be named by what follows both, and by `--target`; "
    "the other is there for what stands between them at best.",
    bad="FROM debian AS base\nRUN make\n\nFROM alpine AS base\n",
    good="FROM debian AS build\nRUN make\n\nFROM alpine AS final\n",
    find=_duplicate_stage_name,
)
RESERVED_STAGE_NAME = Rule(
    name="ReservedStageName",
    text="Reserved words should not be used as stage names",
    why="`scratch` is the empty image and `context` the build context. A stage of that name takes the word "
    "away from the lines behind it.",
    bad="FROM alpine AS scratch\n",
    good="FROM alpine AS builder\n",
    find=_reserved_stage_name,
)
UNDEFINED_ARG_IN_FROM = Rule(
    name="UndefinedArgInFrom",
    text="FROM command must use declared ARGs",
    why="FROM sees the ARGs before the first FROM and the platform arguments (`TARGETPLATFORM`, "
    "`BUILDARCH`, ...). Anything else is empty there, which is often a slip of the pen.",
    bad="ARG VERSION=3.19\nFROM alpine:3${VERSOIN}\n",
    good="ARG VERSION=3.19\nFROM alpine:${VERSION}\n",
    find=_undefined_arg_in_from,
)
INVALID_BASE_IMAGE_PLATFORM = Rule(
    name="InvalidBaseImagePlatform",
    text="Base image platform does not match expected target platform",
    why="What a registry has under a name that is for one platform only, or what was loaded or fetched here for another"
    " one, is taken for this platform's. Its programs do not run here without an emulator, and what is copied out of"
    " it is for the other platform. Fetch the image anew with `--pull`, name one for this platform, or say with"
    " `--platform` what the stage is for.",
    bad="FROM debian:arm64v8\n",
    good="FROM --platform=linux/arm64 debian:arm64v8 AS tools-arm64\n",
    find=_invalid_base_image_platform,
)
REDUNDANT_TARGET_PLATFORM = Rule(
    name="RedundantTargetPlatform",
    text="Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default "
    "behavior",
    why="A stage is for the target's platform unless FROM says otherwise. Leave the flag out.",
    bad="FROM --platform=$TARGETPLATFORM alpine AS builder\n",
    good="FROM alpine AS builder\n",
    find=_redundant_target_platform,
)
INVALID_DEFAULT_ARG_IN_FROM = Rule(
    name="InvalidDefaultArgInFrom",
    text="Default value for global ARG results in an empty or invalid base image name",
    why="A Dockerfile should build without build arguments. Give the ARG a default, or the variable one in "
    "its place: `${TAG:-latest}`.",
    bad="ARG TAG\nFROM busybox:${TAG}\n",
    good="ARG TAG=latest\nFROM busybox:${TAG}\n",
    find=_invalid_default_arg_in_from,
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    name="FromPlatformFlagConstDisallowed",
    text="FROM --platform flag should not use a constant value",
    why="A constant ties the stage, and so the image, to one platform whatever the build was asked for. "
    "Leave the flag out and give `--platform` to the build, use a variable such as `$BUILDPLATFORM`, or"
    " have the stage's name say for which system or architecture it is.",
    bad="FROM --platform=linux/amd64 alpine AS base\n",
    good="FROM --platform=$BUILDPLATFORM alpine AS base\n\n"
    "FROM --platform=linux/arm64 alpine AS build_arm64\n",
    find=_from_platform_flag_const_disallowed,
)
