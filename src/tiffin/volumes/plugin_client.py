"""What a volume plugin is asked, and how its answers are read (Docker's plugin API and volume plugin protocol, v1).

    tiffin                                        plugin
      │ POST /Plugin.Activate                       │
      │ ──────────────────────────────────────────▶ │  {"Implements": ["VolumeDriver"]}
      │ POST /VolumeDriver.Mount {Name, ID}         │
      │ ──────────────────────────────────────────▶ │  {"Mountpoint": "/path", "Err": ""}
      │ ...                                         │
      │ POST /VolumeDriver.Unmount {Name, ID}       │
      │ ──────────────────────────────────────────▶ │  {"Err": ""}

A connection a request. The program is root's and trusted with the volume, but not to be well: an answer has so many
bytes and so much time, and each word in it the type that it must have. Every failure is a PluginFailed that names the
plugin and the request. Imported only where there is a plugin: `http.client` is dear.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import time

from tiffin.errors import NotFound, PluginFailed
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.volumes.plugins import Plugin

_MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
_BODY_MAX = 4 << 20
_TEXT_MAX = 500  # of what it says went wrong
_PATH_MAX = 4095
_QUICK = 10.0  # seconds for what asks for facts alone
_RESTARTING = 3.0  # seconds that a socket nobody listens at is given: its program may be about to
_SHORT = ("Plugin.Activate", "VolumeDriver.Get", "VolumeDriver.List", "VolumeDriver.Capabilities")


class PluginVolume(NamedTuple):
    """A volume as its plugin knows it; `mountpoint` "" while it is not mounted, `created` as the plugin writes it."""

    name: str
    mountpoint: str
    created: str
    status: dict[str, Any]


class VolumePlugin:
    """One plugin. Every method raises PluginFailed."""

    def __init__(self, plugin: Plugin, *, quick: bool = False) -> None:
        """With `quick`, nothing is waited for longer than facts are."""
        self._plugin = plugin
        self._quick = quick
        self._active = False

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make a volume; the protocol makes one that is there no error."""
        self._call("VolumeDriver.Create", {"Name": name, "Opts": dict(options)})

    def remove(self, name: str) -> None:
        self._call("VolumeDriver.Remove", {"Name": name})

    def mount(self, name: str, user: str) -> str:
        """Where the volume is to be found for `user`, an absolute path, until that one unmounts it."""
        answer = self._call("VolumeDriver.Mount", {"Name": name, "ID": user})
        path = self._mountpoint("VolumeDriver.Mount", answer)
        if not path:
            raise self._failed("VolumeDriver.Mount", "it gave no mountpoint")
        return path

    def unmount(self, name: str, user: str) -> None:
        self._call("VolumeDriver.Unmount", {"Name": name, "ID": user})

    def path(self, name: str) -> str:
        """Where the volume is mounted, "" when it is not."""
        return self._mountpoint("VolumeDriver.Path", self._call("VolumeDriver.Path", {"Name": name}))

    def get(self, name: str) -> PluginVolume | None:
        """None when the plugin says that it has none of this name, which it can say only by an error."""
        try:
            answer = self._call("VolumeDriver.Get", {"Name": name})
        except _Refused:
            return None
        found = answer.get("Volume")
        if not isinstance(found, dict):
            raise self._failed("VolumeDriver.Get", "its answer has no volume")
        return self._volume("VolumeDriver.Get", {**found, "Name": found.get("Name") or name})

    def volumes(self) -> list[PluginVolume]:
        listed = self._call("VolumeDriver.List", {}).get("Volumes") or []
        if not isinstance(listed, list):
            raise self._failed("VolumeDriver.List", "its answer is no list of volumes")
        return [self._volume("VolumeDriver.List", one) for one in listed]

    def scope(self) -> str:
        """ "local" or "global"; a plugin that does not say, or something else, is local."""
        try:
            told = self._call("VolumeDriver.Capabilities", {}).get("Capabilities")
        except _Refused:
            return "local"
        scope = told.get("Scope") if isinstance(told, dict) else None
        return "global" if isinstance(scope, str) and scope.lower() == "global" else "local"

    def _volume(self, request: str, found: Any) -> PluginVolume:
        if not isinstance(found, dict) or not isinstance(found.get("Name"), str):
            raise self._failed(request, "its answer has a volume without a name")
        status, created = found.get("Status"), found.get("CreatedAt")
        return PluginVolume(
            found["Name"],
            self._mountpoint(request, found),
            created[:64] if isinstance(created, str) else "",
            status if isinstance(status, dict) else {},
        )

    def _mountpoint(self, request: str, answer: dict[str, Any]) -> str:
        path = answer.get("Mountpoint") or ""
        if not isinstance(path, str):
            raise self._failed(request, "its mountpoint is no text")
        if path and (not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > _PATH_MAX):
            raise self._failed(request, f"its mountpoint is no absolute path: {path[:_TEXT_MAX]!r}")
        return path

    def _call(self, request: str, document: dict[str, Any]) -> dict[str, Any]:
        if not self._active:
            kinds = self._ask("Plugin.Activate", None).get("Implements")
            if not isinstance(kinds, list) or "VolumeDriver" not in kinds:
                name = self._plugin.name
                raise NotFound(
                    f'error looking up volume plugin {name}: plugin "{name}" is not a VolumeDriver'
                )
            self._active = True
        return self._ask(request, document)

    def _ask(self, request: str, document: dict[str, Any] | None) -> dict[str, Any]:
        try:
            status, body = self._exchange(request, b"" if document is None else json.dumps(document).encode())
        except TimeoutError as error:
            raise self._failed(request, f"no answer in {self._time(request):g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(request, str(error) or "it closed the connection") from error
        if len(body) > _BODY_MAX:
            raise self._failed(request, f"its answer has more than {_BODY_MAX >> 20} MiB")
        answer = self._document(request, status, body)
        said = answer.get("Err")
        if said or status >= 400:
            text = said if isinstance(said, str) else f"status {status}"
            raise _Refused(f"{request}: {' '.join(text[:_TEXT_MAX].split())}")
        return answer

    def _document(self, request: str, status: int, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return answer
        if status >= 400:  # a web server's own words
            return {"Err": body[:_TEXT_MAX].decode(errors="replace")}
        raise self._failed(request, "its answer is no JSON object")

    def _exchange(self, request: str, body: bytes) -> tuple[int, bytes]:
        limit = time.monotonic() + self._time(request)
        with self._connect(limit) as connection:
            head = (
                f"POST /{request} HTTP/1.1\r\nHost: {self._plugin.name}\r\nAccept: {_MEDIA_TYPE}\r\n"
                f"Content-Type: {_MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            connection.settimeout(_left(limit))
            connection.sendall(head.encode() + body)
            # http.client reads from whatever makes it a file.
            response = http.client.HTTPResponse(_Timed(connection, limit), method="POST")  # type: ignore[arg-type]
            try:
                response.begin()
                return response.status, response.read(_BODY_MAX + 1)
            finally:
                response.close()

    def _connect(self, limit: float) -> socket.socket:
        """A connection; a socket that nobody listens at is tried again for a little."""
        patience = time.monotonic() + min(_RESTARTING, self._plugin.timeout / 10)
        while True:
            try:
                return self._connect_once(limit)
            except ConnectionRefusedError:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.05)

    def _connect_once(self, limit: float) -> socket.socket:
        scheme, _, place = self._plugin.address.partition("://")
        if scheme == "tcp":
            host, _, port = place.rpartition(":")
            if not port.isdigit():
                raise OSError(f"no port in its address {self._plugin.address}")
            return socket.create_connection((host.strip("[]"), int(port)), _left(limit))
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(limit))
            connection.connect(place)
        except BaseException:
            connection.close()
            raise
        return connection

    def _time(self, request: str) -> float:
        quick = self._quick or request in _SHORT
        return min(_QUICK, self._plugin.timeout) if quick else self._plugin.timeout

    def _failed(self, request: str, why: str) -> PluginFailed:
        return PluginFailed(f"volume plugin {self._plugin.name}: {request}: {why}")


class _Refused(PluginFailed):
    """The plugin answered, and what it answered is an error."""


class _Timed(io.RawIOBase):
    """A socket to read from until `limit`; it stands in for the socket and for the file that is made of it."""

    def __init__(self, connection: socket.socket, limit: float) -> None:
        self._connection, self._limit = connection, limit

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - the socket's signature
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_left(self._limit))
        return self._connection.recv_into(buffer)


def _left(limit: float) -> float:
    left = limit - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
