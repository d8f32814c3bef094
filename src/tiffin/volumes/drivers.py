"""Volumes that a plugin keeps: made, found, mounted for a container, given back.

The engine's row says that a volume is known here, by which driver, and which containers have it; what it holds, and
where, the plugin alone knows. Making and removing go one at a time for each driver, so that no container takes a volume
that is on its way out. A mount is a container's own: the plugin is told the container's ID, and told again with the
same ID when the container has ended.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from tiffin.errors import NotFound, PluginFailed
from tiffin.kernel.paths import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING
from tiffin.volumes.plugin_client import PluginVolume, VolumePlugin
from tiffin.volumes.plugins import all_plugins, find_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tiffin.state import Store

_REFERENCE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def changing(store: Store, driver: str) -> Iterator[VolumePlugin]:
    """The plugin, to make or remove volumes of. Raises NotFound when there is none."""
    plugin = VolumePlugin(find_plugin(driver))
    lock = lock_file(f"{store.layout.cache}/plugin-{driver}.lock")
    try:
        yield plugin
    finally:
        os.close(lock)


def make(plugin: VolumePlugin, name: str, options: Mapping[str, str]) -> None:
    """Have the plugin make a volume, unless it has it. Raises PluginFailed."""
    if plugin.get(name) is None:
        try:
            plugin.create(name, options)
        except PluginFailed as error:
            raise PluginFailed(f"create {name}: {error}") from error


def discard(plugin: VolumePlugin, name: str) -> None:
    """Have the plugin remove a volume, if it has it. Raises PluginFailed."""
    if plugin.get(name) is not None:
        try:
            plugin.remove(name)
        except PluginFailed as error:
            raise PluginFailed(f"remove {name}: {error}") from error


def mount(driver: str, name: str, user: str) -> tuple[str, int]:
    """The path that the plugin has mounted the volume at for `user`, and a descriptor of it. Raises NotFound,
    PluginFailed."""
    plugin = VolumePlugin(find_plugin(driver))
    try:
        path = plugin.mount(name, user)
    except PluginFailed as error:
        raise PluginFailed(f"cannot mount volume {name}: {error}") from error
    what = f"cannot mount volume {name}: volume plugin {driver} gave {path!r}"
    if os.path.normpath(path).strip("/") == "":
        raise PluginFailed(f"{what}, which is the machine's own root")
    try:
        return path, openat2(AT_FDCWD, path, _REFERENCE, 0, RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        raise PluginFailed(f"{what}: {(error.strerror or str(error)).lower()}") from error


def unmount(driver: str, name: str, user: str, *, quick: bool = False) -> str:
    """What went wrong when the plugin was told that `user` needs the volume no more; "" for nothing."""
    try:
        VolumePlugin(find_plugin(driver), quick=quick).unmount(name, user)
    except (NotFound, PluginFailed) as error:
        return f"cannot unmount volume {name}: {error}"
    return ""


def owner_of(name: str) -> str:
    """The driver that has a volume of this name which the engine does not know; "" for none. A plugin that does not
    answer has none."""
    for plugin in all_plugins():
        try:
            if VolumePlugin(plugin, quick=True).get(name) is not None:
                return plugin.name
        except (NotFound, PluginFailed):
            continue
    return ""


def listed() -> tuple[dict[tuple[str, str], PluginVolume], list[str]]:
    """What all plugins say that they have, by driver and name, and what is wrong with those that do not answer."""
    found: dict[tuple[str, str], PluginVolume] = {}
    complaints = []
    for plugin in all_plugins():
        try:
            found.update(((plugin.name, one.name), one) for one in VolumePlugin(plugin).volumes())
        except NotFound:
            continue  # of networks, or of logs
        except PluginFailed as error:
            complaints.append(str(error))
    return found, complaints


def facts(driver: str, name: str) -> tuple[PluginVolume, str]:
    """What the plugin says of a volume, and its scope. Raises NotFound, PluginFailed."""
    plugin = VolumePlugin(find_plugin(driver))
    found = plugin.get(name)
    if found is None:
        raise NotFound(
            f"get {name}: volume plugin {driver} has no such volume; remove it with: volume rm {name}"
        )
    return found, plugin.scope()
