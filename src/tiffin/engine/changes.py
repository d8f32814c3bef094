"""`--change` of commit and import: instructions of a Dockerfile applied to an image's settings.

Those that only change settings are allowed: Docker's list, and STOPSIGNAL. Words are expanded against the
settings' own environment, as they are in a build.
"""

from __future__ import annotations

from tiffin.build.planning.config import apply, environment
from tiffin.dockerfile.expand import expand
from tiffin.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Onbuild,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from tiffin.dockerfile.parser import parse_instruction
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOWED = (
    Cmd, Entrypoint, Env, Expose, Healthcheck, Label, Onbuild, Stopsignal, User, Volume, Workdir,
)  # fmt: skip


def apply_changes(config: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The settings after the instructions, in their order; `config` is left as it is. Raises DockerfileError for one
    that cannot be read, InvalidArgument for one that is not allowed."""
    names = ", ".join(kind.keyword for kind in ALLOWED)
    own_command = False
    for text in changes:
        keyword = text.split(maxsplit=1)[0] if text.strip() else ""
        if keyword and keyword.upper() not in {kind.keyword for kind in ALLOWED}:
            raise InvalidArgument(f"{keyword.lower()} is not a valid change command; those are {names}")
        instruction = expand(parse_instruction(text, file="--change"), environment(config), file="--change")
        config = apply(config, instruction, own_command=own_command)
        own_command = own_command or isinstance(instruction, Cmd)
    return config
