"""A volume plugin, as Docker's protocol has it: a program of its own that keeps directories.

    python -m tests.volume_plugin DIRECTORY SOCKET

    DIRECTORY/volumes/NAME      the volumes
    DIRECTORY/mounted/NAME/ID   who has which mounted
    DIRECTORY/log               every request, a JSON line each: [path, document]
    DIRECTORY/moods             how to misbehave, by request: {"VolumeDriver.Mount": {"hang": true}}

Moods: hang (no answer), die (the program ends), drip (a byte now and then), reply (these bytes as the body), status.
"""

import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"


class Keeper:
    """What the plugin does with its directories. Raises OSError, KeyError for what it does not have."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("volumes", "mounted"):
            (directory / name).mkdir(exist_ok=True)

    def place(self, name: str) -> Path:
        place = self.directory / "volumes" / name
        if not place.is_dir():
            raise KeyError(f"no such volume: {name}")
        return place

    def users(self, name: str) -> Path:
        return self.directory / "mounted" / name

    def described(self, name: str) -> dict[str, Any]:
        mounted = any(self.users(name).iterdir())
        return {
            "Name": name,
            "Mountpoint": str(self.place(name)) if mounted else "",
            "CreatedAt": "2026-01-02T03:04:05Z",
            "Status": {"users": len(list(self.users(name).iterdir()))},
        }

    def answer(self, request: str, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked.get("Name", "")
        match request:
            case "Plugin.Activate":
                return {"Implements": ["VolumeDriver"]}
            case "VolumeDriver.Create":
                (self.directory / "volumes" / name).mkdir(exist_ok=True)
                self.users(name).mkdir(exist_ok=True)
            case "VolumeDriver.Remove":
                if any(self.users(name).iterdir()):
                    raise KeyError("volume is mounted")
                subprocess.run(["rm", "-r", "--", self.place(name), self.users(name)], check=True)
            case "VolumeDriver.Mount":
                place = self.place(name)
                (self.users(name) / asked["ID"]).touch()
                return {"Mountpoint": str(place)}
            case "VolumeDriver.Unmount":
                (self.users(name) / asked["ID"]).unlink()
            case "VolumeDriver.Path":
                return {"Mountpoint": str(self.place(name))}
            case "VolumeDriver.Get":
                self.place(name)
                return {"Volume": self.described(name)}
            case "VolumeDriver.List":
                names = sorted(os.listdir(self.directory / "volumes"))
                return {"Volumes": [self.described(name) for name in names]}
            case "VolumeDriver.Capabilities":
                return {"Capabilities": {"Scope": "global"}}
            case _:
                raise KeyError(f"what is {request}?")
        return {}


class _Handler(BaseHTTPRequestHandler):
    keeper: Keeper

    def do_POST(self) -> None:
        request = self.path.lstrip("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = json.loads(body) if body else {}
        with open(self.keeper.directory / "log", "a") as log:
            log.write(json.dumps([request, asked]) + "\n")
        if self.headers["Content-Type"] != MEDIA_TYPE or self.headers["Accept"] != MEDIA_TYPE:
            self._send(415, b"wrong type")
            return
        moods = self.keeper.directory / "moods"
        mood = json.loads(moods.read_text()).get(request, {}) if moods.exists() else {}
        if mood.get("hang"):
            threading.Event().wait()
        if mood.get("die"):
            os._exit(1)
        if "reply" in mood:
            self._send(mood.get("status", 200), mood["reply"].encode("latin-1"), drip=mood.get("drip", False))
            return
        try:
            answer = {"Err": "", **self.keeper.answer(request, asked)}
        except (OSError, KeyError) as error:
            answer = {"Err": str(error.args[-1])}
        self._send(500 if answer["Err"] else 200, json.dumps(answer).encode())

    def _send(self, status: int, body: bytes, *, drip: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", MEDIA_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            for at in range(len(body)) if drip else ():
                self.wfile.write(body[at : at + 1])
                time.sleep(0.2)
            if not drip:
                self.wfile.write(body)
        except OSError:
            pass  # whoever asked had enough

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    directory, socket = Path(sys.argv[1]), sys.argv[2]
    _Handler.keeper = Keeper(directory)
    with _Server(socket, _Handler) as server:
        server.serve_forever()


class VolumePlugin:
    """The program, and what a test sees of it."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self.directory, self.socket = directory, socket
        directory.mkdir(exist_ok=True)
        socket.parent.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Listening, when this returns."""
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.volume_plugin", str(self.directory), str(self.socket)]
        self.process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
        deadline = time.monotonic() + 30
        while not _listens(self.socket):
            assert self.process.poll() is None, "the plugin ended"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        """Its socket stays behind, as that of a program that died."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def misbehave(self, **moods: dict[str, Any]) -> None:
        """By the method's name, as Mount={"hang": True}; nothing: behave."""
        path = self.directory / "moods"
        named = {
            f"VolumeDriver.{name}" if name != "Activate" else "Plugin.Activate": mood
            for name, mood in moods.items()
        }
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(named))
        aside.rename(path)

    def log(self, *methods: str) -> list[tuple[str, dict[str, Any]]]:
        """The requests, oldest first; of these methods, if any are named."""
        path = self.directory / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [(request.rpartition(".")[2], asked) for request, asked in map(json.loads, lines)]
        return [one for one in found if not methods or one[0] in methods]

    def users(self, name: str) -> list[str]:
        """The IDs that have the volume mounted."""
        return sorted(os.listdir(self.directory / "mounted" / name))


def _listens(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def running(directory: Path, socket: Path) -> Iterator[VolumePlugin]:
    plugin = VolumePlugin(directory, socket)
    plugin.start()
    try:
        yield plugin
    finally:
        plugin.stop()


if __name__ == "__main__":
    main()
