"""What can be done with volumes.

    engine.volumes.create("data", labels={"team": "web"})
    with open("data.tar", "wb") as file:
        engine.volumes.export("data", file)

Directories that outlive containers; `docs/volumes.md` tells how they are mounted.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager

from tiffin.engine import recovery
from tiffin.engine.usage import VolumeUse, volumes_use
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO
from tiffin.volumes import Volume, Volumes
from tiffin.volumes.plugins import all_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

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
        the driver's: of the local one type, o, device. Raises InvalidArgument, NotFound (driver), Conflict (other
        driver or options), PluginFailed."""
        with self._workspace.store() as store:
            return Volumes(store).create(name, labels, options, driver)

    def list(self, filters: Sequence[str] = ()) -> list[Volume]:
        """Those that all filters (`volume ls --filter`) let through, by name, with those of plugins that the engine did
        not make. Raises InvalidArgument."""
        return [*self.listed(filters)[0]]

    def listed(self, filters: Sequence[str] = ()) -> tuple[Sequence[Volume], Sequence[str]]:
        """The same, and what is wrong with plugins that could not be asked."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            used = {str(row[0]) for row in store.db.execute("SELECT DISTINCT volume FROM volume_uses")}
            tests = _tests(filters, used)
            known = Volumes(store).known()
            known, complaints = _with_theirs(known) if all_plugins() else (known, [])
            return [volume for volume in known if all(test(volume) for test in tests)], complaints

    def inspect(self, name: str) -> dict[str, Any]:
        """The document that `volume inspect` prints. Raises NotFound "get NAME: no such volume", PluginFailed."""
        with self._workspace.store() as store:
            try:
                volume = Volumes(store).inspect(name)
            except NotFound:
                driver = _owner_of(name)
                if not driver:
                    raise
                volume = Volume(name, False, {}, 0, "", {}, driver)
            return document(volume)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and all in it; `force`: one that is not there is no error, nor a plugin that does not answer.
        Raises NotFound, Conflict while any container has it, PluginFailed."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            try:
                Volumes(store).inspect(name)
            except NotFound:
                if driver := _owner_of(name):
                    Volumes(store).create(name, driver=driver)  # so that its removal is like any other
            Volumes(store).remove(name, force=force)

    def update(self, name: str, *, labels: Mapping[str, str], remove_labels: Sequence[str] = ()) -> None:
        """Add labels and take some away. Raises NotFound."""
        with self._workspace.store() as store:
            Volumes(store).relabel(name, labels, remove_labels)

    def plan_prune(self, all: bool = False, filters: Sequence[str] = ()) -> tuple[VolumeUse, ...]:  # noqa: A002 - the option's name
        """What `prune` would remove: anonymous volumes that no container has, with `all` named ones too; never those of
        plugins. Filters are label, label! and all. Raises InvalidArgument."""
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
                and use.driver == "local"
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

        with self._workspace.store() as store, _opened(store, name) as fd:
            tree_tar(fd, out)

    def import_(self, name: str, archive: BinaryIO) -> None:
        """Unpack a tar archive, plain or compressed, into the volume; files of the same names are replaced, all others
        stay. Raises NotFound, Corrupt, LimitExceeded."""
        from tiffin.layer.apply import extract
        from tiffin.layer.compress import open_decompressed

        with self._workspace.store() as store, _opened(store, name) as fd:
            extract(open_decompressed(archive), fd)


@contextmanager
def _opened(store: Store, name: str) -> Iterator[int]:
    """A descriptor of what the volume holds. One that a plugin has to mount is mounted for an ID of our own, whose lock
    says that we are at work."""
    if Volumes(store).inspect(name).driver == "local":
        with Volumes(store).opened(name) as fd:
            yield fd
        return
    from tiffin.supervisor import control
    from tiffin.volumes.mounting import mounted_for

    user = os.urandom(32).hex()
    lock = control.acquire(store.layout, user)
    try:
        with mounted_for(store, user, name) as place:
            fd = os.open(f"/proc/self/fd/{place}/.", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)
    finally:
        control.discard(store.layout, user)
        os.close(lock)


def _owner_of(name: str) -> str:
    """The plugin that has a volume which the engine does not know; "" for none."""
    if not all_plugins():
        return ""
    from tiffin.volumes import drivers

    return drivers.owner_of(name)


def _with_theirs(known: list[Volume]) -> tuple[list[Volume], list[str]]:
    """All volumes by name, with what their plugins say of them; and what is wrong with the plugins."""
    from tiffin.volumes import drivers

    theirs, complaints = drivers.listed()
    ours = {(volume.driver, volume.name) for volume in known}
    completed = [
        volume._replace(mountpoint=theirs[key].mountpoint)
        if (key := (volume.driver, volume.name)) in theirs
        else volume
        for volume in known
    ]
    completed += [
        Volume(name, False, {}, 0, one.mountpoint, {}, driver)
        for (driver, name), one in theirs.items()
        if (driver, name) not in ours
    ]
    return sorted(completed, key=lambda volume: (volume.name, volume.driver)), complaints


def document(volume: Volume) -> dict[str, Any]:
    """As Docker's `volume inspect` words it. Raises NotFound, PluginFailed."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(volume.created // 1_000_000_000))
    shown = {
        "CreatedAt": created,
        "Driver": volume.driver,
        "Labels": labels_of(volume) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }
    if volume.driver != "local":
        from tiffin.volumes import drivers

        told, shown["Scope"] = drivers.facts(volume.driver, volume.name)
        shown["Mountpoint"] = told.mountpoint
        if told.created or not volume.created:
            shown["CreatedAt"] = told.created
        if told.status:
            shown["Status"] = told.status
    return shown


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
    return lambda volume: volume.driver == value


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
