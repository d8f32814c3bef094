"""Volume drivers that are other programs, found where Docker's plugins are.

    /run/docker/plugins/NAME.sock, NAME/NAME.sock    a unix socket
    /etc/docker/plugins/NAME.spec, NAME/NAME.spec    an address as text: unix:///path, tcp://host:port
    /usr/lib/docker/plugins/NAME.json                {"Name": "NAME", "Addr": "unix:///path"}

The first that is there counts: sockets, then addresses, then documents. The directories are settings
(`config.VolumeSettings`). What such a program is told and answers is in `plugin_client`.
"""

from __future__ import annotations

import json
import os
import stat

from tiffin.config import load_settings
from tiffin.errors import InvalidArgument, NotFound, Unsupported
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.config import VolumeSettings

_SPEC_MAX = 64 << 10
_SCHEMES = ("unix", "tcp", "http")


class Plugin(NamedTuple):
    """A program that keeps volumes. `address` is "unix:///path" or "tcp://host:port"; `timeout` in seconds is how long
    it may take over one request."""

    name: str
    address: str
    timeout: float


def find_plugin(name: str) -> Plugin:
    """Raises NotFound in Docker's words, InvalidArgument for a file about it that cannot be read."""
    settings = load_settings().volumes
    for path in _places(settings, name):
        address = _address(path)
        if address:
            return Plugin(name, address, settings.plugin_timeout)
    raise NotFound(f'error looking up volume plugin {name}: plugin "{name}" not found')


def all_plugins() -> tuple[Plugin, ...]:
    """Every plugin that there is a trace of, of volumes or not, by name; one whose file is no good is left out."""
    settings = load_settings().volumes
    names: set[str] = set()
    for directory, suffixes in _directories(settings):
        names.update(_names_in(directory, suffixes))
    found = []
    for name in sorted(names):
        try:
            found.append(find_plugin(name))
        except (NotFound, InvalidArgument, Unsupported):
            continue
    return tuple(found)


def _directories(settings: VolumeSettings) -> Iterator[tuple[str, tuple[str, ...]]]:
    for directory in settings.plugin_sockets:
        yield directory, (".sock",)
    for directory in settings.plugin_specs:
        yield directory, (".spec", ".json")


def _names_in(directory: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    try:
        entries = os.listdir(directory)
    except OSError:
        return
    for entry in entries:
        stem, dot, suffix = entry.rpartition(".")
        if dot and stem and f".{suffix}" in suffixes:
            yield stem
        elif any(os.path.exists(f"{directory}/{entry}/{entry}{suffix}") for suffix in suffixes):
            yield entry


def _places(settings: VolumeSettings, name: str) -> Iterator[str]:
    if "/" in name or "\0" in name or name in (".", ".."):
        return  # no name of a file
    for suffix in (".sock", ".spec", ".json"):
        for directory in settings.plugin_sockets if suffix == ".sock" else settings.plugin_specs:
            yield f"{directory}/{name}{suffix}"
            yield f"{directory}/{name}/{name}{suffix}"


def _address(path: str) -> str:
    """The address that a socket is, or that a file has; "" when there is no such file."""
    try:
        status = os.stat(path)
        if path.endswith(".sock"):
            return f"unix://{os.path.abspath(path)}" if stat.S_ISSOCK(status.st_mode) else ""
        with open(path, "rb") as file:
            data = file.read(_SPEC_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise InvalidArgument(f"cannot read the plugin's file {path}: {error.strerror}") from error
    try:
        text = data.decode() if len(data) <= _SPEC_MAX else ""
        given = _of_document(path, text) if path.endswith(".json") else text.strip()
    except ValueError as error:
        raise InvalidArgument(f"the plugin's file {path} is no good: {error}") from error
    scheme, separator, rest = given.partition("://")
    if scheme not in _SCHEMES or not separator or not rest or not given.isprintable():
        raise InvalidArgument(
            f"the plugin's file {path} has no address; write unix:///PATH or tcp://HOST:PORT in it"
        )
    return given if scheme == "unix" else f"tcp://{rest.rstrip('/')}"


def _of_document(path: str, text: str) -> str:
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    address = document.get("Addr") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise ValueError('want {"Name": ..., "Addr": ...}')
    if document.get("TLSConfig"):
        # A volume is a directory of this machine, so its driver is here too.
        raise Unsupported(
            f"the plugin's file {path} asks for TLS, which tiffin does not speak to drivers; let it listen on a socket"
        )
    return address
