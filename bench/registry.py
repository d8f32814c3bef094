"""Debian's docker-registry on loopback, one where each side reaches it: dockerd has a network namespace of its own."""

import os
import shutil
import subprocess
import time

from bench.sides import Docker, Side, run

_CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: bench}}
"""
_FIRST_PORT = 5077


class Registry:
    """A running docker-registry; `host` is how images in it are named."""

    def __init__(self, side: Side, work: str) -> None:
        self.host = f"127.0.0.1:{_FIRST_PORT + _PORTS[side.name]}"
        self.storage = f"{work}/registry-{side.name}"
        os.makedirs(self.storage)
        config = f"{self.storage}.yml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(_CONFIG.format(storage=self.storage, port=self.host.rpartition(":")[2]))
        self._enter = side.entering() if isinstance(side, Docker) else []
        self._process = subprocess.Popen(
            [*self._enter, "docker-registry", "serve", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry did not start on {self.host}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        probe = f"import socket; socket.create_connection(('127.0.0.1', {self.host.rpartition(':')[2]}), 1)"
        return subprocess.run([*self._enter, "python3", "-c", probe], capture_output=True).returncode == 0

    def fill(self, archive: str, name: str) -> None:
        """Copy an image archive into it."""
        run([*self._enter, "skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}",
             f"docker://{self.host}/{name}"])  # fmt: skip

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(f"{self.storage}/docker", ignore_errors=True)  # noqa: TID251 - only the registry writes here

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


_PORTS = {"tiffin": 0, "docker": 1, "podman": 2}  # each side's port lies so far from the first
_running: dict[str, Registry] = {}


def registry_of(side: Side, work: str) -> Registry:
    """The registry that `side` reaches, started when first asked for."""
    if side.name not in _running:
        _running[side.name] = Registry(side, work)
    return _running[side.name]


def close_all() -> None:
    """End every registry that was started."""
    while _running:
        _running.popitem()[1].close()
