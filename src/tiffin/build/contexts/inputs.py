"""What goes into a build besides its Dockerfile: the main context, named ones, images, secrets and agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiffin.build.contexts.context import Context
from tiffin.build.copying.sources import Picked, SourceTree
from tiffin.build.planning.graph import BaseWork
from tiffin.errors import InvalidArgument
from tiffin.oci.platform import Platform
from tiffin.typed import NamedTuple

IMAGE, LAYOUT = "docker-image://", "oci-layout://"


class SecretSource(NamedTuple):
    """Where a secret is: in the file `path`, or in the variable `variable` of the caller's environment."""

    path: str = ""
    variable: str = ""


class Shell(NamedTuple):
    """What is to be started where a step fails, and the socket over which its terminal goes; see
    tiffin.build.running.shell."""

    command: str = ""
    fd: int = -1


class Lent(NamedTuple):
    """What the caller lends to RUN steps: secrets and sockets of ssh agents by id, read when a step needs them, written
    down nowhere; and its terminal, for a `shell` in a step that failed. `keys` are files of ssh keys by id, for which
    there is no agent yet: key_agent.lend_keys."""

    secrets: Mapping[str, SecretSource] = {}
    agents: Mapping[str, str] = {}
    keys: Mapping[str, tuple[str, ...]] = {}
    shell: Shell = Shell()


class BuildInputs:
    """The files and images of one build; see plan.Inputs.

    `named` are the named contexts, name → what --build-context says. `open_context` makes a context of what is no
    image; `base` finds an image.
    """

    def __init__(
        self,
        main: Context,
        named: Mapping[str, str],
        open_context: Callable[[str], Context],
        base: Callable[[str, Platform | None], BaseWork],
    ) -> None:
        self._contexts = {"": main}
        self._named = {_plain(name): value for name, value in named.items()}
        self._open = open_context
        self.base: Callable[[str, Platform | None], BaseWork] = base  # may be set anew for another plan

    def named(self, name: str) -> str | None:
        """See plan.Inputs."""
        value = self._named.get(name.lower()) if self._named else None
        if value is None and self._named:
            value = self._named.get(_plain(name))
        if value is None:
            return None
        if value.startswith(IMAGE):
            return value[len(IMAGE) :]
        return value if value.startswith(LAYOUT) else ""

    def tree(self, context: str) -> SourceTree:
        """See plan.Inputs."""
        return self.context(context).tree

    def context(self, name: str) -> Context:
        """A context by its name, opened when it is first asked for."""
        key = _plain(name) if name else ""
        if key not in self._contexts:
            self._contexts[key] = self._open(self._named.get(key, self._named.get(name.lower(), "")))
            self._contexts[key].use_ignore_rules(named=True)
        return self._contexts[key]

    def digest(self, name: str, picked: Picked) -> str:
        """See Context.digest."""
        return self.context(name).digest(picked)

    def save_digests(self) -> None:
        """See Context.save_digests, of every context."""
        for context in self._contexts.values():
            context.save_digests()

    def close(self) -> None:
        """Close every context."""
        for context in self._contexts.values():
            context.close()


def _plain(name: str) -> str:
    """A stage's name in lower case; an image's name in full, so that every way to write it is the same."""
    from tiffin.oci.reference import parse_reference

    try:
        return str(parse_reference(name))
    except InvalidArgument:
        return name.lower()
