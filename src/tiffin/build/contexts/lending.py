"""What the caller of a build lends, grants and names, as the command line writes it: --secret, --ssh, --allow and
--build-context."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from tiffin.build.contexts.inputs import Lent, SecretSource
from tiffin.build.planning.commands import ENTITLEMENTS
from tiffin.errors import InvalidArgument, NotFound

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/:@]{0,254}")
_KEYS_OF_SECRET = {"id": "id", "src": "src", "source": "src", "env": "env", "type": "type"}


def lent(secrets: Iterable[str], agents: Iterable[str]) -> Lent:
    """Raises InvalidArgument for what is malformed, NotFound for a file or agent that is not there."""
    return Lent(dict(_secret(text) for text in secrets), dict(_agent(text) for text in agents))


def _secret(text: str) -> tuple[str, SecretSource]:
    values: dict[str, str] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        name = _KEYS_OF_SECRET.get(key.lower())
        if name is None or not equals:
            raise InvalidArgument(
                f"invalid --secret field {key!r}: want id=NAME,src=FILE or id=NAME,env=VARIABLE"
            )
        values[name] = value
    name, kind = values.get("id", ""), values.get("type", "")
    if kind not in ("", "file", "env"):
        raise InvalidArgument(f"invalid --secret type {kind!r}: use file or env")
    if not name:
        raise InvalidArgument("a --secret needs an id: --secret id=NAME,src=FILE")
    path, variable = values.get("src", ""), values.get("env", "")
    if path and variable:
        raise InvalidArgument(f"the secret {name!r} has a file and a variable; give one of src and env")
    if kind == "env":
        path, variable = "", variable or path or name
    if not path and not variable:
        path, variable = ("", name) if kind != "file" and name in os.environ else (name, "")
    if path:
        _check_file(name, path)
    return name, SecretSource(os.path.abspath(path) if path else "", variable)


def _check_file(name: str, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise NotFound(f"cannot read the secret {name!r} from {path!r}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise InvalidArgument(f"the secret {name!r} is a directory, {path!r}; name a file")


def _agent(text: str) -> tuple[str, str]:
    from tiffin.build.contexts.agent import check_agent

    name, _, path = text.partition("=")
    if not name:
        raise InvalidArgument("invalid --ssh: want default, or ID=SOCKET")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise NotFound(f"--ssh {name}: SSH_AUTH_SOCK is not set; start an ssh-agent, or give {name}=SOCKET")
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise NotFound(f"--ssh {name}: {path!r}: {error.strerror}") from error
    if not is_socket:
        raise InvalidArgument(
            f"--ssh {name}: {path!r} is no agent's socket; a key is lent by an agent: "
            "eval $(ssh-agent); ssh-add FILE; then --ssh default"
        )
    check_agent(path, name)
    return name, os.path.abspath(path)


def granted(allow: Iterable[str]) -> frozenset[str]:
    """The entitlements. Raises InvalidArgument for one that there is not."""
    found = set()
    for text in allow:
        if text not in ENTITLEMENTS:
            raise InvalidArgument(f"invalid --allow {text!r}: use {' or '.join(ENTITLEMENTS)}")
        found.add(text)
    return frozenset(found)


def check_contexts(names: Iterable[str]) -> None:
    """Raises InvalidArgument for what cannot be a context's name."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"invalid --build-context name {name!r}: letters, digits and _.-/:@")
