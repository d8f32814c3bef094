"""What the caller of a build lends, grants and names, as the command line writes it: --secret, --ssh, --allow and
--build-context."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tiffin.build.contexts.inputs import Lent, SecretSource
from tiffin.build.planning.commands import ENTITLEMENTS
from tiffin.errors import InvalidArgument, NotFound

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/:@]{0,254}")
_KEYS_OF_SECRET = {"id": "id", "src": "src", "source": "src", "env": "env", "type": "type"}


def lent(secrets: Iterable[str], agents: Iterable[str]) -> Lent:
    """Raises InvalidArgument for what is malformed, NotFound for a file or agent that is not there."""
    found: dict[str, str] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for name, paths in map(_agent, agents):
        found.pop(name, None)
        keys.pop(name, None)
        if isinstance(paths, str):
            found[name] = paths
        else:
            keys[name] = paths
    return Lent(dict(_secret(text) for text in secrets), found, keys)


@contextmanager
def lending(secrets: Iterable[str], agents: Iterable[str], staging: str) -> Iterator[Lent]:
    """The same, with an agent for keys that were given as files: `agents` has them all while the context lasts. See
    key_agent.lend_keys for `staging` and further errors."""
    found = lent(secrets, agents)
    if not found.keys:
        yield found
        return
    from tiffin.build.contexts.key_agent import lend_keys

    with lend_keys(found.keys, staging) as started:
        yield found._replace(agents={**found.agents, **started}, keys={})


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


def _agent(text: str) -> tuple[str, str | tuple[str, ...]]:
    """The id, and an agent's socket or files of keys."""
    from tiffin.build.contexts.agent import check_agent

    name, _, value = text.partition("=")
    if not name:
        raise InvalidArgument("invalid --ssh: want default, ID=SOCKET or ID=KEYFILE[,KEYFILE]")
    value = value or os.environ.get("SSH_AUTH_SOCK", "")
    if not value:
        raise NotFound(
            f"--ssh {name}: SSH_AUTH_SOCK is not set; start an ssh-agent, or give {name}=SOCKET or {name}=KEYFILE"
        )
    paths = tuple(os.path.abspath(os.path.expanduser(path)) for path in value.split(","))
    kinds = {path: _kind(name, path) for path in paths}
    if len(paths) == 1 and stat.S_ISSOCK(kinds[paths[0]]):
        check_agent(paths[0], name)
        return name, paths[0]
    for path, kind in kinds.items():
        if not stat.S_ISREG(kind):
            raise InvalidArgument(
                f"--ssh {name}: {path!r} is no key; give one agent's socket, or files of keys with commas between"
            )
    return name, paths


def _kind(name: str, path: str) -> int:
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except OSError as error:
        raise NotFound(f"--ssh {name}: {path!r}: {error.strerror}") from error


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
