"""Rules about variables: that they exist, and that they hold no secrets."""

from __future__ import annotations

import re

from tiffin.dockerfile.instructions import Arg, Env
from tiffin.dockerfile.lint.rule import Found, Rule, found
from tiffin.dockerfile.lint.subject import Scope, Subject
from tiffin.dockerfile.place import nearest
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECRETS = (
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
)
_HINTS = 200  # how often a name is compared with those that are known: each time takes its time
_SLIP = 0.85
_NOT_DECLARED = frozenset({"SOURCE_DATE_EPOCH"})


def _undefined_var(subject: Subject) -> Iterator[Found]:
    compared = 0
    for visit in subject.visits():
        for name in visit.missing:
            compared += 1
            if name in _NOT_DECLARED:
                continue
            hint = _meant(name, visit.scope) if compared <= _HINTS else ""
            if visit.scope.whole or hint:
                yield found(visit.instruction, f"Usage of undefined variable '${name}'{hint}")


def _meant(name: str, scope: Scope) -> str:
    """The declared variable that `name` looks like. Of a base image that is not here the variables are not known, and
    many end alike (GOPATH, PYTHONPATH): then it must look very much like one that the Dockerfile itself has."""
    others = (each for each in scope.declared if each != name and (scope.whole or each != "PATH"))
    return nearest(name, others, 0.6 if scope.whole else _SLIP).replace("mean ", "mean $")


def looks_secret(name: str) -> bool:
    """Whether one of the name's words, cut at `_`, is one that secrets are called by."""
    words = [word for word in re.split("_", name.lower()) if word]
    return not {*_SECRETS}.isdisjoint(words) and "public" not in words


def _secrets_used_in_arg_or_env(subject: Subject) -> Iterator[Found]:
    for instruction in (*subject.dockerfile.global_args, *subject.judged()):
        if isinstance(instruction, Arg | Env):
            for name in dict.fromkeys(name for name, _ in instruction.pairs):
                if looks_secret(name):
                    yield found(
                        instruction,
                        "Do not use ARG or ENV instructions for sensitive data "
                        f'({instruction.keyword} "{name}")',
                    )


UNDEFINED_VAR = Rule(
    name="UndefinedVar",
    text="Variables should be defined before their use",
    why="A variable that neither ENV nor ARG of this stage (or of the one it builds on) nor the base image "
    "sets is empty. ARGs before the first FROM have to be declared again in a stage. Where a variable "
    "may be missing on purpose, say what it is then: `${NAME:-default}`. Of a base image that is not on"
    " this machine the variables are not known; then only names that nearly are one of the known are "
    "told of. What the shell of a RUN, CMD or ENTRYPOINT makes of variables is its own affair.",
    bad="FROM scratch\nARG DIRECTORY=/srv\nCOPY app ${DIRECTROY}/\n",
    good="FROM scratch\nARG DIRECTORY=/srv\nCOPY app ${DIRECTORY}/\n",
    find=_undefined_var,
)
SECRETS_USED_IN_ARG_OR_ENV = Rule(
    name="SecretsUsedInArgOrEnv",
    text="Sensitive data should not be used in the ARG or ENV commands",
    why="Values of ENV are in the image's config and those of ARG in its history: whoever has the image has"
    " them. Use `RUN --mount=type=secret`, which leaves nothing behind. The check goes by names: a word"
    " such as key, token or password, unless `public` is another.",
    bad="FROM scratch\nARG AWS_SECRET_ACCESS_KEY\n",
    good="FROM scratch\nARG AWS_REGION\nARG SIGNING_PUBLIC_KEY\n",
    find=_secrets_used_in_arg_or_env,
)
