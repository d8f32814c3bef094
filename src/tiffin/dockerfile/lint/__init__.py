"""Build checks: what a Dockerfile may say and should not. Pure, as the room around it.

    subject = Subject(dockerfile, ...)                              subject.py: what the rules may look at
    report = check(subject, Options.of(dockerfile, build_args))     here
    report.findings ... one a place, in the order of the lines
    mistake(subject)    what a build would stop at, as far as it can be told

A rule is one `Rule` (rule.py): its name, what it asks for, the page about it, and the function that finds where it is
not kept. `RULES` has them in the order of Docker's reference ("Build checks"), whose names, texts and `# check=`
directive these are; docs/build-checks.md is made from them by tools/checks.py.
"""

from __future__ import annotations

import re

from tiffin.dockerfile.lint.commands import (
    COPY_IGNORED_FILE,
    EXPOSE_INVALID_FORMAT,
    EXPOSE_PROTO_CASING,
    JSON_ARGS_RECOMMENDED,
    MULTIPLE_INSTRUCTIONS_DISALLOWED,
    WORKDIR_RELATIVE_PATH,
)
from tiffin.dockerfile.lint.options import Options
from tiffin.dockerfile.lint.rule import Finding, Rule
from tiffin.dockerfile.lint.stages import (
    DUPLICATE_STAGE_NAME,
    FROM_AS_CASING,
    FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    INVALID_BASE_IMAGE_PLATFORM,
    INVALID_DEFAULT_ARG_IN_FROM,
    REDUNDANT_TARGET_PLATFORM,
    RESERVED_STAGE_NAME,
    STAGE_NAME_CASING,
    UNDEFINED_ARG_IN_FROM,
)
from tiffin.dockerfile.lint.subject import Subject, mistake
from tiffin.dockerfile.lint.variables import SECRETS_USED_IN_ARG_OR_ENV, UNDEFINED_VAR
from tiffin.dockerfile.lint.writing import (
    CONSISTENT_INSTRUCTION_CASING,
    INVALID_DEFINITION_DESCRIPTION,
    LEGACY_KEY_VALUE_FORMAT,
    MAINTAINER_DEPRECATED,
    NO_EMPTY_CONTINUATION,
)
from tiffin.dockerfile.place import shown
from tiffin.dockerfile.value import Value

__all__ = ["RULES", "Finding", "Options", "Report", "Rule", "Subject", "check", "mistake"]

RULES = (
    STAGE_NAME_CASING,
    FROM_AS_CASING,
    NO_EMPTY_CONTINUATION,
    CONSISTENT_INSTRUCTION_CASING,
    DUPLICATE_STAGE_NAME,
    RESERVED_STAGE_NAME,
    JSON_ARGS_RECOMMENDED,
    MAINTAINER_DEPRECATED,
    UNDEFINED_ARG_IN_FROM,
    WORKDIR_RELATIVE_PATH,
    UNDEFINED_VAR,
    MULTIPLE_INSTRUCTIONS_DISALLOWED,
    LEGACY_KEY_VALUE_FORMAT,
    INVALID_BASE_IMAGE_PLATFORM,
    REDUNDANT_TARGET_PLATFORM,
    SECRETS_USED_IN_ARG_OR_ENV,
    INVALID_DEFAULT_ARG_IN_FROM,
    FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    COPY_IGNORED_FILE,
    INVALID_DEFINITION_DESCRIPTION,
    EXPOSE_PROTO_CASING,
    EXPOSE_INVALID_FORMAT,
)


class Report(Value):
    """What was found, by line. `unknown` is what directives name and nobody here knows, a line each: rules, with the
    name that was probably meant, and a syntax that is not Dockerfile's own. `refuses`: whether findings are to stop the
    build.
    """

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]
    refuses: bool

    @property
    def violation(self) -> str:
        """The text of the refusal; "" when there is none."""
        names = dict.fromkeys(finding.rule.name for finding in self.findings)
        return f"lint violation found for rules: {', '.join(names)}" if names and self.refuses else ""


def check(subject: Subject, options: Options) -> Report:
    """What `subject` has of what the rules in force ask not to have."""
    findings = [
        Finding(rule, place.line, place.end_line, place.detail)
        for rule in RULES
        if options.wants(rule)
        for place in rule.find(subject)
    ]
    findings.sort(key=lambda finding: finding.line)
    unknown = (*_foreign_syntax(subject), *options.unknown(RULES))
    return Report(tuple(findings), unknown, options.error)


def _foreign_syntax(subject: Subject) -> tuple[str, ...]:
    """A word about a `# syntax=` that names another language: what follows is read as a Dockerfile all the same."""
    syntax = subject.dockerfile.directives.get("syntax", "")
    name = syntax.split()[0].removeprefix("docker.io/") if syntax else ""
    if not name or re.match(r"docker/dockerfile(-upstream)?([:@]|$)", name):
        return ()
    return (f"syntax directive: {shown(name)} is another frontend; the file is read as a Dockerfile",)
