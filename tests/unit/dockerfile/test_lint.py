"""The lint: every rule by its examples and by what it lets pass, the directive, and what a finding looks like."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tiffin.dockerfile.lint import RULES, Options, Report, Rule, Subject, check, mistake
from tiffin.dockerfile.place import Place
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import DockerfileError
from tiffin.oci.platform import Platform, parse_platform

PREDEFINED = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64", "TARGETARCH": "amd64"}
BY_NAME = {rule.name: rule for rule in RULES}


def report(
    text: str, args: Mapping[str, str] = {}, base: Mapping[str, str] | None = None, stage: str | None = None
) -> Report:
    dockerfile = parse_dockerfile(text.encode())
    only = None if stage is None else dockerfile.reachable(dockerfile.target(stage), {})
    subject = Subject(
        dockerfile, args, PREDEFINED, lambda path: path.startswith("tmp"), lambda _: base, only, platforms
    )
    return check(subject, Options.of(dockerfile, args))


def platforms(name: str, asked: str) -> tuple[Platform, Platform] | None:
    """As if names that say arm64 were such images, and others not here."""
    if "arm64" not in name:
        return None
    return Platform("linux", "arm64"), parse_platform(asked) if asked else Platform("linux", "amd64")


def found(text: str, **more: object) -> list[str]:
    return [finding.short for finding in report(text, **more).findings]  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_finds_its_bad_example_and_nothing_else_in_it(rule: Rule) -> None:
    assert {finding.rule.name for finding in report(rule.bad).findings} == {rule.name}
    assert found(rule.good) == []
    assert rule.text and rule.why and rule.url.startswith("https://docs.docker.com/go/dockerfile/rule/")


def test_the_rules_are_those_of_the_reference() -> None:
    assert len(BY_NAME) == len(RULES) == 22
    assert [rule.name for rule in RULES if rule.experimental] == [
        "CopyIgnoredFile",
        "InvalidDefinitionDescription",
    ]
    assert BY_NAME["JSONArgsRecommended"].url.endswith("/json-args-recommended/")
    assert BY_NAME["SecretsUsedInArgOrEnv"].url.endswith("/secrets-used-in-arg-or-env/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from alpine AS x\n", ["FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 1)"]),
        ("from alpine as x\n", []),
        (
            "From alpine as x\n",  # a keyword that is neither is told of as such, once
            ["ConsistentInstructionCasing: Command 'From' should match the case of the command majority "
             "(uppercase) (line 1)"],
        ),
        (
            "from a\nrun b\nRUN c\n",
            ["ConsistentInstructionCasing: Command 'RUN' should match the case of the command majority "
             "(lowercase) (line 3)"],
        ),
        ("FROM a\nRUN b \\\n\n\n  c\n", ["NoEmptyContinuation: Empty continuation line (line 5)"]),
        ("FROM a AS x\nFROM b AS X\nFROM c AS x\n", [
            "StageNameCasing: Stage name 'X' should be lowercase (line 2)",
            'DuplicateStageName: Duplicate stage name "x", stage names should be unique (line 2)',
            'DuplicateStageName: Duplicate stage name "x", stage names should be unique (line 3)',
        ]),
        ("ARG V=arm64\nFROM a:$V AS x\nFROM x\nFROM --platform=$TARGETPLATFORM a:$V\n", [
            'InvalidBaseImagePlatform: Base image a:arm64 was pulled with platform "linux/arm64", expected '
            '"linux/amd64" for current build (line 2)',
            'InvalidBaseImagePlatform: Base image a:arm64 was pulled with platform "linux/arm64", expected '
            '"linux/amd64" for current build (line 4)',
            "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is "
            "the default behavior (line 4)",
        ]),
        ("FROM a AS context\n", [
            'ReservedStageName: Stage name should not use the same name as reserved stage "context" (line 1)']),
        ("FROM a\nSHELL [\"bash\", \"-c\"]\nCMD x\nENTRYPOINT y\n", []),
        ("FROM a AS x\nSHELL [\"bash\", \"-c\"]\nFROM x\nCMD y\nFROM a\nCMD z\n", [
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS "
            "signals (line 6)"]),
        ("FROM a\nCMD []\nENTRYPOINT [\"a\"]\n", []),
        ("FROM a\nMAINTAINER b\n", [
            "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)"]),
        ("FROM x:${TARGETARCH}\n", []),
        ("FROM --platform=$BUIDPLATFORM x\n", [
            "UndefinedArgInFrom: FROM argument 'BUIDPLATFORM' is not declared (did you mean BUILDPLATFORM?) (line 1)"]),
        ("FROM x:${NO-1}\n", []),
        ("ARG TAG\nFROM x:${TAG:-1}\n", []),
        ("ARG TAG=UPPER\nFROM ${TAG}\n", [
            "InvalidDefaultArgInFrom: Default value for ARG ${TAG} results in empty or invalid base image name "
            "(line 2)"]),
        ("FROM a\nWORKDIR /a\nWORKDIR b\n", []),
        ("FROM a\nWORKDIR a\nWORKDIR b\n", [
            'WorkdirRelativePath: Relative workdir "a" can have unexpected results if the base image changes '
            "(line 2)"]),
        ("FROM a AS x\nWORKDIR /a\nFROM x\nWORKDIR b\n", []),
        ("FROM a\nENV D=/srv\nWORKDIR $D\n", []),
        ("FROM a\nENV D=srv\nWORKDIR ${D}/x\n", [
            'WorkdirRelativePath: Relative workdir "srv/x" can have unexpected results if the base image changes '
            "(line 3)"]),
        ("FROM a\nCMD [\"a\"]\nFROM b\nCMD [\"a\"]\n", []),
        ("FROM a\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\nHEALTHCHECK CMD y\n", [
            "MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same stage "
            "because only the last one will be used (line 2)",
            "MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same stage "
            "because only the last one will be used (line 3)"]),
        ("FROM a\nLABEL a b\n", [
            'LegacyKeyValueFormat: "LABEL key=value" should be used instead of legacy "LABEL key value" format '
            "(line 2)"]),
        ("FROM --platform=${TARGETPLATFORM} a\n", [
            "RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is "
            "the default behavior (line 1)"]),
        ("FROM --platform=${TARGETPLATFORM:-linux/arm64} a\n", []),
        ("FROM --platform=linux/arm64 a AS linux-build\n", []),
        ("ARG MY_API_KEY\nFROM a\nENV token=1 x=2 KEYS=3 MONKEY=4\n", [
            'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "MY_API_KEY") (line 1)',
            'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "token") (line 3)']),
        ("FROM a\nEXPOSE ${P}/tcp 80/UDP ${P:-80}\n", [
            "ExposeProtoCasing: Defined protocol '80/UDP' in EXPOSE instruction should be lowercase (line 2)"]),
        ("FROM a\nEXPOSE 8080:80\n", [
            "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found "
            "'8080:80' (line 2)"]),
    ],
)  # fmt: skip
def test_rules_judge_as_the_reference_does(text: str, expected: list[str]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch\nCOPY $no /x\n", ["no"]),
        ("FROM scratch\nARG no\nCOPY ${no}a /x\n", []),
        ("FROM scratch\nCOPY ${no:-a} ${no+b} /x/\n", []),
        ("FROM scratch\nENV A=${no#x} B=${no/a/b}\n", ["no"]),
        ("FROM scratch\nENV A=1 B=$A\n", ["A"]),
        ("FROM scratch\nARG A=1 B=$A\n", []),
        ("ARG A=1\nFROM scratch\nENV B=$A\n", ["A"]),
        ("FROM scratch AS x\nENV A=1\nARG B\nFROM x\nENV C=$A$B\n", []),
        ("FROM scratch\nENV P=$PATH:/x\n", []),
        ('FROM scratch\nRUN echo $no\nCMD ["$no"]\nENTRYPOINT ["x"]\n', []),
        ("FROM scratch\nCOPY <<A <<'B' /x/\n$no\nA\n$neither\nB\n", ["no"]),
        ("FROM scratch\nRUN --mount=type=cache,target=$no/x make\n", ["no"]),
        ("FROM known\nENV A=$FROM_BASE B=$no\n", ["no"]),
        ("FROM scratch\nENV A='$no' B=\\$no\n", []),
    ],
)
def test_variables_are_undefined_where_nothing_sets_them(text: str, expected: list[str]) -> None:
    findings = report(text, base={"FROM_BASE": "1"}).findings
    assert [finding.detail for finding in findings] == [
        f"Usage of undefined variable '${name}'" for name in expected
    ]


@pytest.mark.parametrize(
    ("above", "told"),
    [
        ("# What it does.\n", True),
        ("# web what it does.\n", False),
        ("# More about it.\n# web what it does.\n", False),
        ("# web what it does.\n# More about it.\n", True),
        ("# What it does.\n\n", False),
        ("# What it does.\n#\n", False),
        ("  # indented\n", True),
        ("", False),
    ],
)
def test_a_comment_above_a_definition_begins_with_its_name(above: str, told: bool) -> None:
    text = f"# check=experimental=InvalidDefinitionDescription\nARG A=1\n{above}FROM scratch AS web\n"
    expected = (
        "InvalidDefinitionDescription: Comment for FROM should follow the format: `# web <description>`"
    )
    assert found(text) == ([f"{expected} (line {text.count(chr(10))})"] if told else [])


def test_of_a_base_that_is_not_here_only_slips_are_told() -> None:
    assert found("FROM far\nARG VERSION=1 JAVA_VERSION=8\nENV A=$JAVA_HOME:$GOPATH\nENV B=$VERSOIN\n") == [
        "UndefinedVar: Usage of undefined variable '$VERSOIN' (did you mean $VERSION?) (line 4)"
    ]


def test_a_build_is_told_of_the_stages_that_it_needs_alone() -> None:
    text = "FROM a AS one\nCMD x\nFROM a AS two\nCMD x\nFROM a AS three\nCOPY --from=one a b\n"
    assert [finding.line for finding in report(text, stage="three").findings] == [2]
    assert [finding.line for finding in report(text).findings] == [2, 4]
    text = "FROM a AS one\nENV A b\nENV KEY=1\nMAINTAINER c\nFROM a\n"
    assert [finding.rule.name for finding in report(text, stage="1").findings] == ["MaintainerDeprecated"]
    assert len(report(text).findings) == 3


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", Options()),
        ("skip=all", Options(skip=("all",))),
        (" skip = A , B ; error = true ", Options(skip=("A", "B"), error=True)),
        ("error=0", Options()),
        ("experimental=all;error=T", Options(experimental=("all",), error=True)),
    ],
)
def test_the_directive_is_read(text: str, options: Options) -> None:
    assert Options.parse(text, Place("Dockerfile")) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", r"Dockerfile: invalid check option x: use skip=, error="),
        ("skp=a", r"Dockerfile: invalid check option skp \(did you mean skip\?\): use skip=, error="),
        ("error=yes", r"Dockerfile: invalid check option error=yes: use true or false"),
    ],
)
def test_a_wrong_directive_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        report(f"# check={text}\nFROM a\n")


def test_rules_are_skipped_by_name_and_all_at_once() -> None:
    bad = "FROM a as B\nCMD x\n"
    assert len(found(bad)) == 3
    assert [
        line.split(":")[0] for line in found(f"# check=skip=FromAsCasing,JSONArgsRecommended\n{bad}")
    ] == ["StageNameCasing"]
    assert found(f"# check=skip=all\n{bad}") == []
    assert found(f"# check=skip=all\n{bad}", args={"BUILDKIT_DOCKERFILE_CHECK": "skip=StageNameCasing"}) != []


def test_a_name_that_no_rule_has_is_told_with_the_one_that_was_meant() -> None:
    assert report("# check=skip=jsonargsrecommended,Quux\nFROM a\nCMD x\n").unknown == (
        "check directive: no rule is called jsonargsrecommended (did you mean JSONArgsRecommended?)",
        "check directive: no rule is called Quux",
    )


@pytest.mark.parametrize(
    ("syntax", "foreign"),
    [
        ("docker/dockerfile:1", False),
        ("docker.io/docker/dockerfile:1.7-labs", False),
        ("docker/dockerfile-upstream:master", False),
        ("docker/dockerfile@sha256:00", False),
        ("example.com/mockerfile:2", True),
        ("docker/dockerfilex", True),
    ],
)
def test_a_syntax_that_is_not_dockerfiles_own_is_told(syntax: str, foreign: bool) -> None:
    notes = report(f"# syntax={syntax}\nFROM a\n").unknown
    assert len(notes) == foreign
    assert all(
        note.endswith(f"{syntax} is another frontend; the file is read as a Dockerfile") for note in notes
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch\nENV A=$B\n", ""),
        ("FROM --platform=$BULIDPLATFORM scratch\n", "D:1: FROM: empty platform value from expression $BULIDPLATFORM"
         " (did you mean BUILDPLATFORM?)"),
        ("ARG A=${B:?is needed}\nFROM scratch\n", "D:1: ARG: ${B:?is needed}: B: is needed"),
        ("FROM scratch AS x\nFROM x\nRUN x\nENV A=${B:?is needed}\n", "D:4: ENV: ${B:?is needed}: B: is needed"),
        ("FROM far\nENV A=${B:?is needed}\n", ""),  # the base may have it
        ("FROM far\nEXPOSE $B\nCOPY --chmod=9 a b\n", "D:3: COPY: invalid --chmod: 9"),
        ("FROM far\nCOPY $B /x\n", ""),
    ],
)  # fmt: skip
def test_what_a_build_would_stop_at_is_told_where_it_is_certain(text: str, expected: str) -> None:
    error = mistake(
        Subject(parse_dockerfile(text.replace("is needed", "is_needed").encode(), "D"), {}, PREDEFINED)
    )
    assert (str(error) if error else "").startswith(expected.replace("is needed", "is_needed"))
    assert bool(error) == bool(expected)


def test_findings_refuse_a_build_where_the_directive_says_so() -> None:
    assert report("FROM a as B\n").violation == ""
    assert report("# check=error=true\nFROM a AS b\n").violation == ""
    assert report("# check=error=true\nFROM a as B\nFROM a as C\n").violation == (
        "lint violation found for rules: StageNameCasing, FromAsCasing"
    )


def test_a_finding_is_shown_with_its_lines_and_some_around_them() -> None:
    text = "FROM a\nRUN one\nRUN two\nCMD x \\\r\n  y\nRUN three\nRUN four\n"
    (finding,) = report(text).findings
    assert finding.lines("deploy/Dockerfile", text) == [
        "",
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        "deploy/Dockerfile:4",
        "--------------------",
        "   3 |     RUN two",
        "   4 | >>> CMD x \\",
        "   5 | >>>   y",
        "   6 |     RUN three",
        "--------------------",
    ]


def test_a_hostile_file_is_checked_in_bounded_time() -> None:
    text = "FROM scratch\n" + "".join(f"ARG AB{n}=1\nENV X=$AB C=$D\n" for n in range(4900))
    began = time.monotonic()
    assert len(found(text)) == 2 * 4900
    assert time.monotonic() - began < 60


def test_the_page_of_the_checks_is_what_the_records_say() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "tools/checks.py", "--check"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
