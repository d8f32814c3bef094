"""Other engines and image tools, as the tests' witnesses: what is installed, and a dockerd of our own.

Import the fixtures by name into a test module. A test that uses one bears the marker `peer`.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def need(tool: str) -> str:
    """The tool's path; the test is skipped, and says so, where it is not installed."""
    found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


def run(*command: str, **options: Any) -> str:
    """Its standard output; its standard error is the test's failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
    return str(done.stdout)


class Docker:
    """A dockerd in network, mount and process namespaces of its own: all that it starts and mounts ends with
    it. It can load, save, build without RUN, tag and inspect; no container of it has a network, unless it is
    `networked`: then it makes its bridge, and its rules by iptables, in its namespace. One that is `outside` has the
    machine's network instead, for containers and builds with --network=host."""

    def __init__(
        self, directory: Path, *options: str, networked: bool = False, outside: bool = False
    ) -> None:
        daemon, self._client = need("dockerd"), need("docker")
        self._socket = f"unix://{directory}/docker.sock"
        self._log = directory / "log"
        directories = [f"--data-root={directory}/data", f"--exec-root={directory}/exec"]
        own = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if not outside:
            own.append("--net")
        plain = [f"--pidfile={directory}/pid"]
        if (
            networked
        ):  # where nothing is forwarded yet, the daemon sees to it, and has the policy of FORWARD drop
            own += ["sh", "-c", 'echo 0 >/proc/sys/net/ipv4/ip_forward && exec "$@"', "sh"]
        else:
            plain += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*own, daemon, "-H", self._socket, *directories, *plain, *options], stdout=log, stderr=log
            )
        self._wait_until_ready(directory)

    def _wait_until_ready(self, directory: Path) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            if (directory / "docker.sock").exists() and self._ask("version").returncode == 0:
                return
            time.sleep(0.05)
        self.close()
        pytest.skip(f"dockerd does not start here: {self._log.read_text()[-400:]}")

    @property
    def pid(self) -> int:
        """Of the process that made the namespaces and whose only child is the daemon."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Where it listens, as `docker -H` has it."""
        return self._socket

    def _ask(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = [self._client, "-H", self._socket, *arguments]
        environment = os.environ | {"DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": f"{self._log.parent}/config"}
        return subprocess.run(
            command, capture_output=True, timeout=120, check=False, env=environment, **options
        )

    def __call__(self, *arguments: str, **options: Any) -> str:
        done = self._ask(*arguments, **options)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def buildkit(self, *arguments: str, timeout: float = 120, **options: Any) -> str:
        """The log of a `build` by BuildKit."""
        client = need("/usr/bin/docker")
        version = run(client, "--version")
        if not version.startswith("Docker version 20."):
            pytest.skip(f"needs the client that speaks to this BuildKit without a plugin, not {version}")
        environment = {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": f"{self._log.parent}/config"}
        done = subprocess.run(
            [client, "-H", self._socket, "build", "--progress=plain", *arguments],
            env=environment, capture_output=True, timeout=timeout, check=False, **options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return str(done.stderr.decode())

    def close(self) -> None:
        self._process.kill()  # unshare takes the daemon along, and that, as process 1, all else
        self._process.wait()


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """One dockerd for the whole run."""
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    daemon = Docker(tmp_path_factory.mktemp("dockerd"))
    yield daemon
    daemon.close()
