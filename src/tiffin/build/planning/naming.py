"""The cache keys of steps: what of each kind of work counts, and what not.

    key      as it can be known before anything that the step takes from is looked at
    keys     the step's own key first, which goes by what is in the files, then `key`, another name for it
    outline  of a large COPY: all but what is in the files

Never in a key: what a secret holds, which agent answers, what a cache directory holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiffin.build.cache import Layer
from tiffin.build.copying.sources import Picked
from tiffin.build.epoch import NO_EPOCH
from tiffin.build.planning.graph import (
    CopyWork,
    DirectoryWork,
    FetchWork,
    MountWork,
    Outcome,
    RunWork,
    SettingsWork,
    SquashWork,
    Step,
    Surroundings,
)
from tiffin.build.planning.keys import step_key
from tiffin.typed import Any, Protocol

_LARGE = 200  # files and directories: below that, reading them twice is quicker than thinking about it


class Digests(Protocol):
    """What the keys need of the executor."""

    def context_digest(self, context: str, picked: Picked) -> str:
        """What of a source in a context counts for the key."""

    def stage_digest(self, layers: tuple[Layer, ...], work: CopyWork | MountWork) -> list[Any]:
        """The same for what `work` takes among another step's files, which are looked at now. NotFound."""


class Naming:
    """Names steps whose parent and sources are in `done`. `located` runs what may fail at a step."""

    def __init__(
        self,
        done: Mapping[int, Outcome],
        digests: Digests,
        located: Callable[[Step, Callable[[], Any]], Any],
        epoch: int = NO_EPOCH,
    ) -> None:
        self._done = done
        self._digests = digests
        self._located = located
        self._epoch = epoch

    def key(self, step: Step) -> str:
        """The step's key as it can be known without looking at its sources' files."""
        work = step.work
        if isinstance(work, CopyWork):
            if step.sources:
                return self._copy_from(step, work, "copy-from", self._files_of(step.sources))
            return self.copy_key(
                step, [self._digests.context_digest(work.context, each) for each in work.picked]
            )
        if isinstance(work, RunWork):
            return self._run_key(step, work, lambda mount: self._done[mount.at].files)
        if isinstance(work, DirectoryWork):
            return self.made("directory", self._parent(step), [work.path, work.user])
        if isinstance(work, FetchWork):
            return step_key("fetch", "", [work.url, work.checksum, work.keep_git_dir])
        if isinstance(work, SquashWork):
            below = self._parent(step)
            return self.made("squash", below, [layer.diff_id for layer in self._done[step.sources[0]].layers])
        assert isinstance(work, SettingsWork)
        return self.made("settings", self._done[step.parent].key, [work.after, work.author])

    def keys(self, step: Step) -> tuple[str, ...]:
        """The step's own key first, then other names for it."""
        work = step.work
        key = self.key(step)
        if isinstance(work, CopyWork) and work.sources:
            (number,) = step.sources
            found = self._look(step, number, work)
            return self._copy_from(step, work, "copy", found), key
        if isinstance(work, RunWork) and any(mount.kind == "bind" and mount.at >= 0 for mount in work.mounts):
            own = self._run_key(step, work, lambda mount: self._look(step, mount.at, mount))
            return own, key
        return (key,)

    def copy_key(self, step: Step, digests: list[str]) -> str:
        """The key of a COPY from a context, given the digest of each thing picked."""
        work = step.work
        assert isinstance(work, CopyWork)
        found = [
            [each.name, each.is_directory, digest] for each, digest in zip(work.picked, digests, strict=True)
        ]
        return self._copy_from(step, work, "copy", found)

    def outline(self, step: Step) -> str:
        """For a large COPY from a context, all of its key but the contents of files; "" for any other step.

        When no step so far had this outline, the key cannot be known either, and nobody has to read the files to
        find that out: the worker, which reads them anyway, digests them.
        """
        work = step.work
        if (
            not isinstance(work, CopyWork)
            or step.sources
            or sum(len(each.nodes) for each in work.picked) < _LARGE
        ):
            return ""
        found = [[each.name, each.is_directory] for each in work.picked]
        return self._copy_from(step, work, "copy-outline", found)

    def made(self, kind: str, parent: str, content: Any) -> str:
        """The key of what this build makes, which an epoch makes differently."""
        return step_key(kind, parent, content if self._epoch == NO_EPOCH else [content, self._epoch])

    def _parent(self, step: Step) -> str:
        return self._done[step.parent].files if step.parent >= 0 else ""

    def _files_of(self, numbers: tuple[int, ...]) -> list[str]:
        return [self._done[number].files for number in numbers]

    def _copy_from(self, step: Step, work: CopyWork, kind: str, found: Any) -> str:
        """`found` says what is copied: with the paths where it lies ("copy-from"), or without."""
        fetched = self._files_of(step.sources) if not work.sources else []
        sources: Any = work.sources if kind == "copy-from" else bool(work.sources)
        options: list[Any] = [sources, work.files, work.dest, work.chown, work.chmod, work.unpack]
        options += [work.exclude, work.parents, fetched]
        return self.made(kind, "" if work.link else self._parent(step), [found, options])

    def _run_key(self, step: Step, work: RunWork, look: Callable[[MountWork], Any]) -> str:
        mounts = []
        for mount in work.mounts:
            origin: Any = [self._digests.context_digest(mount.context, each) for each in mount.picked]
            if mount.at >= 0:
                origin = look(mount) if mount.kind == "bind" else self._done[mount.at].files
            mounts.append([*mount._replace(at=-1, picked=(), required=False), origin])
        content: list[Any] = [work.argv, work.env, work.user, work.cwd, work.network, work.script]
        if mounts or work.insecure:
            content += [mounts, work.insecure]
        around = work.around._replace(limits=())
        if around != Surroundings():
            content.append({"hosts": around.hosts, "shm": around.shm_size, "ulimits": around.ulimits})
        return self.made("run", self._parent(step), content)

    def _look(self, step: Step, number: int, work: CopyWork | MountWork) -> list[Any]:
        layers = self._done[number].layers
        found: list[Any] = self._located(step, lambda: self._digests.stage_digest(layers, work))
        return found
