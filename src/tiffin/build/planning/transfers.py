"""COPY and ADD planned: where each source lies, and what is to be done with it."""

from __future__ import annotations

from collections.abc import Callable

from tiffin.build.copying.sources import Picked, SourceTree, inside
from tiffin.build.planning import config as settings
from tiffin.build.planning.config import Config
from tiffin.build.planning.graph import CopyWork, FetchWork
from tiffin.dockerfile import remote
from tiffin.dockerfile.instructions import Add, Copy, Transfer
from tiffin.errors import InvalidArgument
from tiffin.typed import NamedTuple


class Origin(NamedTuple):
    """Where files come from: another step, or (-1) the files of `context`, which is "" for the main one."""

    step: int = -1
    context: str = ""


class Desk(NamedTuple):
    """What planning one instruction needs of the whole plan.

    origin   what a stage, image or named context is; "" is the main context
    tree     the files of a context
    fetch    the number of the step that fetches
    """

    origin: Callable[[str], Origin]
    tree: Callable[[str], SourceTree]
    fetch: Callable[[FetchWork], int]


def plan_transfer(copy: Transfer, config: Config, desk: Desk) -> tuple[CopyWork, tuple[int, ...]]:
    """The work, and the steps that it takes from. Raises NotFound and InvalidArgument for a source that is not
    there."""
    dest = settings.absolute(config, copy.dest)
    if copy.dest.endswith(("/", "/.", "/..")) or copy.dest in ("", ".", ".."):
        dest = dest.rstrip("/") + "/"
    if copy.link and copy.chown and not all(part.isdigit() for part in copy.chown.split(":")):
        raise InvalidArgument(
            f"--chown={copy.chown} with --link: the names are not looked up, as nothing below is; give numbers"
        )
    work = CopyWork(
        sources=(),
        picked=(),
        files=tuple((document.name, document.data) for document in copy.heredocs),
        dest=dest,
        chown=copy.chown,
        chmod=copy.chmod,
        unpack=_unpack(copy),
        link=copy.link,
        exclude=copy.exclude,
        parents=copy.parents,
    )
    origin = desk.origin(copy.from_) if isinstance(copy, Copy) and copy.from_ else Origin()
    if origin.step >= 0:
        for path in copy.sources:
            inside(path, "the copied stage")
        return work._replace(sources=copy.sources), (origin.step,)
    fetched: list[int] = []
    picked: list[Picked] = []
    for source in copy.sources:
        if isinstance(copy, Add) and (remote.is_git(source) or remote.is_url(source)):
            fetched.append(desk.fetch(FetchWork(source, copy.checksum, copy.keep_git_dir)))
        else:
            picked += desk.tree(origin.context).pick(source, copy.exclude, parents=copy.parents)
    return work._replace(picked=tuple(picked), context=origin.context), tuple(fetched)


def _unpack(copy: Transfer) -> tuple[bool, bool]:
    """Archives of the context are unpacked by ADD unless it says no, those that were fetched when it says so."""
    if not isinstance(copy, Add):
        return False, False
    return copy.unpack is not False, copy.unpack is True
