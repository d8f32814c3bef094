"""What can be done with volumes.

    engine.volumes.create("data", labels={"team": "web"})
    with open("data.tar", "wb") as file:
        engine.volumes.export("data", file)

Directories that outlive containers; `docs/volumes.md` tells how they are mounted.
"""

from __future__ import annotations

import re
import time

from tiffin.engine import recovery
from tiffin.engine.usage import VolumeUse, volumes_use
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO
from tiffin.volumes import Volume, Volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tiffin.engine.workspace import Workspace

    Test = Callable[[Volume], bool]

ANONYMOUS = "com.docker.volume.anonymous"  # the label that Docker gives to volumes without a name
_TRUE, _FALSE = ("1", "true", "True", "t", "T"), ("0", "false", "False", "f", "F")
_KNOWN = ("dangling", "driver", "label", "name")
_PRUNE_KNOWN = ("all", "label", "label!")


class VolumeService:
    """The volume verbs of one engine."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume; without a name it is anonymous. One that is there already is returned as it is. `options` are
        the local driver's: type, o, device. Raises InvalidArgument, NotFound (driver), Conflict (other options)."""
        if driver not in ("", "local"):
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            )
        with self._workspace.store() as store:
            return Volumes(store).create(name, labels, options)

    def list(self, filters: Sequence[str] = ()) -> list[Volume]:
        """Those that all filters (`volume ls --filter`) let through, by name. Raises InvalidArgument."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            used = {str(row[0]) for row in store.db.execute("SELECT DISTINCT volume FROM volume_uses")}
            tests = _tests(filters, used)
            return [volume for volume in Volumes(store).known() if all(test(volume) for test in tests)]

    def inspect(self, name: str) -> dict[str, Any]:
        """The document that `volume inspect` prints. Raises NotFound "get NAME: no such volume"."""
        with self._workspace.store() as store:
            return document(Volumes(store).inspect(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and all in it; `force`: one that is not there is no error. Raises NotFound, Conflict while
        any container has it."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            Volumes(store).remove(name, force=force)

    def update(self, name: str, *, labels: Mapping[str, str], remove_labels: Sequence[str] = ()) -> None:
        """Add labels and take some away. Raises NotFound."""
        with self._workspace.store() as store:
            Volumes(store).relabel(name, labels, remove_labels)

    def plan_prune(self, all: bool = False, filters: Sequence[str] = ()) -> tuple[VolumeUse, ...]:  # noqa: A002 - the option's name
        """What `prune` would remove: anonymous volumes that no container has, with `all` named ones too. Filters are
        label, label! and all. Raises InvalidArgument."""
        tests = []
        for text in filters:
            key, _, value = text.partition("=")
            if key not in _PRUNE_KNOWN:
                raise InvalidArgument(f"invalid filter '{key}'; known: {', '.join(_PRUNE_KNOWN)}")
            if key == "all":
                all = all or _boolean("all", value)  # noqa: A001 - the same word
            else:
                tests.append(_label(value, wanted=key == "label"))
        with self._workspace.store() as store:
            recovery.reconcile(store)
            facts = {volume.name: volume for volume in Volumes(store).known()}
            return tuple(
                use
                for use in volumes_use(store)
                if not use.links
                and (all or use.anonymous)
                and use.name in facts
                and self._passes(facts[use.name], tests)
            )

    @staticmethod
    def _passes(volume: Volume, tests: Sequence[Test]) -> bool:
        return all(test(volume) for test in tests)

    def prune(self, plan: Sequence[VolumeUse]) -> tuple[tuple[str, ...], int]:
        """Remove what was planned and is still unused: names, and the bytes that came free."""
        removed, freed = [], 0
        with self._workspace.store() as store:
            for use in plan:
                try:
                    Volumes(store).remove(use.name)
                except (Conflict, NotFound):
                    continue  # somebody uses it by now, or was quicker
                removed.append(use.name)
                freed += use.size
        return tuple(removed), freed

    def export(self, name: str, out: BinaryIO) -> None:
        """Write all that the volume holds as a tar archive. Raises NotFound."""
        from tiffin.layer.diff import tree_tar

        with self._workspace.store() as store, Volumes(store).opened(name) as fd:
            tree_tar(fd, out)

    def import_(self, name: str, archive: BinaryIO) -> None:
        """Unpack a tar archive, plain or compressed, into the volume; files of the same names are replaced, all others
        stay. Raises NotFound, Corrupt, LimitExceeded."""
        from tiffin.layer.apply import extract
        from tiffin.layer.compress import open_decompressed

        with self._workspace.store() as store, Volumes(store).opened(name) as fd:
            extract(open_decompressed(archive), fd)


def document(volume: Volume) -> dict[str, Any]:
    """As Docker's `volume inspect` words it."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(volume.created // 1_000_000_000))
    return {
        "CreatedAt": created,
        "Driver": "local",
        "Labels": labels_of(volume) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }


def labels_of(volume: Volume) -> dict[str, str]:
    """Its labels, with the one by which Docker's clients know anonymous volumes."""
    return {**volume.labels, ANONYMOUS: ""} if volume.anonymous else volume.labels


def _tests(filters: Sequence[str], used: set[str]) -> list[Test]:
    """Of names and drivers any may hold; everything else must."""
    tests: list[Test] = []
    groups: dict[str, list[Test]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in _KNOWN:
            raise InvalidArgument(f"invalid filter '{key}'; known: {', '.join(_KNOWN)}")
        if key == "dangling":
            tests.append(_dangling(_boolean(key, value), used))
        elif key == "label":
            tests.append(_label(value, wanted=True))
        else:
            groups.setdefault(key, []).append(_name(value) if key == "name" else _driver(value))
    return [*tests, *(_any(group) for group in groups.values())]


def _any(tests: list[Test]) -> Test:
    return lambda volume: any(test(volume) for test in tests)


def _boolean(key: str, value: str) -> bool:
    if value not in (*_TRUE, *_FALSE):
        raise InvalidArgument(f"invalid value '{value}' for filter '{key}'; use true or false")
    return value in _TRUE


def _dangling(wanted: bool, used: set[str]) -> Test:
    return lambda volume: (volume.name not in used) is wanted


def _driver(value: str) -> Test:
    return lambda _: value == "local"


def _name(value: str) -> Test:
    try:
        pattern = re.compile(value)
    except re.error:
        return lambda volume: value in volume.name
    return lambda volume: pattern.search(volume.name) is not None


def _label(text: str, *, wanted: bool) -> Test:
    name, equals, value = text.partition("=")

    def has(volume: Volume) -> bool:
        labels = labels_of(volume)
        return (name in labels and (not equals or labels[name] == value)) is wanted

    return has
