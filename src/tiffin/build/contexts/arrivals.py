"""Contexts that are no directory here: URLs, git repositories, archives from a stream.

They arrive in a directory of this build's own in staging, which goes with the build. What fetches and unpacks is a
worker, as everything that handles what others wrote.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from tiffin.build.contexts.context import MAX_DOCKERFILE, Context
from tiffin.build.contexts.inputs import Lent
from tiffin.build.planning.graph import FetchWork
from tiffin.build.workers import Channel, call
from tiffin.dockerfile import remote
from tiffin.errors import InvalidArgument, LimitExceeded
from tiffin.state import Layout
from tiffin.typed import Any

_SPOOL_MAX = 64 << 30
_PIECE = 1 << 20


class Arrivals:
    """What has arrived for one build. A context manager; the directory is made when it is first needed."""

    def __init__(self, layout: Layout, lent: Lent) -> None:
        self._layout = layout
        self._lent = lent
        self._undo = ExitStack()
        self._path = ""
        self._count = 0

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)

    def directory(self) -> str:
        """This build's directory."""
        if not self._path:
            from tiffin.build.workspace import Workspace  # most builds need none

            self._path = self._undo.enter_context(Workspace(self._layout.staging)).path
        return self._path

    def main(self, text: str, dockerfile: str | bytes, stdin: int) -> tuple[Context, bytes | None]:
        """The main context, which `text` means, "-" being what the descriptor `stdin` gives; and the Dockerfile's text
        when that is nothing else. `dockerfile` is what the caller says of it."""
        if text == "-":
            if stdin < 0:
                raise InvalidArgument("no stream is given for the context '-'; name a directory")
            context, found = self._from_stream(stdin)
        elif is_remote(text):
            context, found = self._of_remote(text)
        else:
            return self.context(text), None
        if found is not None and dockerfile:
            context.close()
            raise InvalidArgument(f"{_shown(text)!r} is a Dockerfile, not a context with one; leave out -f")
        return context, found

    def context(self, text: str) -> Context:
        """The context that `text` means: a directory here, or what a URL or git reference leads to."""
        if is_remote(text):
            context, file = self._of_remote(text)
            if file is not None:
                context.close()
                raise InvalidArgument(f"{_shown(text)} is no archive, so it is no context")
            return context
        return Context(text, self._layout.cache)

    def _from_stream(self, fd: int) -> tuple[Context, bytes | None]:
        """The context that comes from `fd`: an archive; or a Dockerfile, whose text is then given, and no files."""
        with open(fd, "rb", buffering=0, closefd=False) as stream:
            path = self._spool(stream)
        return self._of_file(path, "standard input")

    def _of_remote(self, text: str) -> tuple[Context, bytes | None]:
        """The main context by URL or git reference; a URL may lead to a Dockerfile alone."""
        path = self._fetched(_full(text))
        if os.path.isdir(path):
            return Context(path, detached=True), None
        return self._of_file(path, _shown(text))

    def _of_file(self, path: str, title: str) -> tuple[Context, bytes | None]:
        target = self._new()
        if call(lambda _: _unpack(path, target))["archive"]:
            os.unlink(path)
            return Context(target, detached=True), None
        with open(path, "rb") as file:
            text = file.read(MAX_DOCKERFILE + 1)
        if len(text) > MAX_DOCKERFILE:
            raise LimitExceeded(
                f"{title} is neither an archive nor a Dockerfile of at most {MAX_DOCKERFILE >> 20} MiB"
            )
        if not text.strip():
            raise InvalidArgument(f"{title} is empty; give an archive of the context, or a Dockerfile")
        return Context(target, detached=True), text

    def _fetched(self, url: str) -> str:
        """The path of the file or directory that a URL or git reference stands for."""
        from tiffin.build.contexts.fetch import bring, fetch

        work, directory, target = FetchWork(url), self.directory(), self._new(make=False)

        def task(channel: Channel) -> dict[str, Any]:
            told = fetch(self._layout, work, directory, self._lent, channel)["told"]
            path = bring(told, target, self._lent)
            return {"path": f"{path}/{told['name']}" if told.get("name") else path}

        return str(call(task)["path"])

    def _new(self, *, make: bool = True) -> str:
        self._count += 1
        path = f"{self.directory()}/context-{self._count}"
        if make:
            os.mkdir(path, 0o755)
        return path

    def _spool(self, stream: Any) -> str:
        path = f"{self.directory()}/stream"
        total = 0
        with open(path, "xb") as file:
            while piece := stream.read(_PIECE):
                total += len(piece)
                if total > _SPOOL_MAX:
                    raise LimitExceeded(f"the context is larger than {_SPOOL_MAX >> 30} GiB")
                file.write(piece)
        return path


def is_remote(text: str) -> bool:
    """Whether a context is somewhere else: a URL, or a git reference."""
    return text.startswith("github.com/") or remote.is_git(text) or remote.is_url(text)


def _shown(text: str) -> str:
    from tiffin.registry.redact import redact  # as rare as a URL

    return redact(text)


def _full(text: str) -> str:
    """`github.com/a/b` is a repository there."""
    if not text.startswith("github.com/"):
        return text
    path, mark, fragment = text.partition("#")
    return f"https://{path.removesuffix('.git')}.git{mark}{fragment}"


def _unpack(path: str, target: str) -> dict[str, Any]:
    from tiffin.build.copying.archive import holds_tar
    from tiffin.layer.apply import extract
    from tiffin.layer.compress import open_decompressed

    with open(path, "rb") as file:
        if not holds_tar(file):
            return {"archive": False}
        file.seek(0)
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open_decompressed(file) as tar:
                extract(tar, root, owner=(0, 0), devices=False)
        finally:
            os.close(root)
    return {"archive": True}
