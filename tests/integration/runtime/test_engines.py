"""Other engines run their containers on tiffin-runtime: podman by --runtime, dockerd (containerd, its shim) by
--add-runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.peers import Docker, need
from tests.suites.bundle import template

pytestmark = [pytest.mark.root, pytest.mark.peer]
# This machine's bounding set has no CAP_SYS_RESOURCE: podman's own defaults cannot be set by any runtime.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "tiffin-runtime"
    where = os.pathsep.join(p for p in sys.path if p)
    path.write_text(f'#!/bin/sh\nPYTHONPATH={where} exec {sys.executable} -m tiffin.cli.oci.main "$@"\n')
    path.chmod(0o755)
    return path


class Podman:
    def __init__(self, directory: Path, program: Path) -> None:
        self.directory = directory
        self._command = [
            need("podman"), "--root", str(directory / "root"), "--runroot", str(directory / "run"),
            "--runtime", str(program), "--cgroup-manager", "cgroupfs", "--events-backend", "file",
            "--tmpdir", str(directory / "tmp"),
        ]  # fmt: skip

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)

    def ok(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def run(
        self, *words: str, root: Path | None = None, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        where = root or self.directory / "rootfs"
        return self("run", "--network", "none", *_LIMITS, *options, "--rootfs", str(where), *words)


@pytest.fixture(scope="module")
def podman(program: Path) -> Iterator[Podman]:
    directory = Path(
        tempfile.mkdtemp(prefix="tfn-", dir="/tmp")
    )  # podman wants its run directory's path short
    subprocess.run(["cp", "-a", template(), directory / "rootfs"], check=True)
    made = Podman(directory, program)
    yield made
    made("rm", "--all", "--force")
    subprocess.run(["umount", directory / "root/overlay"], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)


def test_podman_runs_a_container_to_its_exit_code(podman: Podman) -> None:
    done = podman.run("sh", "-c", "echo out; echo err >&2; exit 4", options=("--rm",))
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/no/such", 127), ("/etc/passwd", 126)])
def test_podman_learns_why_a_command_is_not_executed(podman: Podman, command: str, code: int) -> None:
    done = podman.run(command, options=("--rm",))
    assert done.returncode == code and command in done.stderr


def test_podman_lives_with_a_container(podman: Podman) -> None:
    text = 'trap "echo bye; exit 5" TERM; while :; do sleep 0.05; done'
    assert podman.run("sh", "-c", text, options=("-d", "--name", "life")).returncode == 0
    assert podman.ok("exec", "life", "id", "-u") == "0"
    assert podman("exec", "life", "sh", "-c", "exit 9").returncode == 9
    assert podman("exec", "life", "nosuch").returncode == 127
    assert podman.ok("exec", "-t", "life", "tty").startswith("/dev/pts/")
    podman.ok("pause", "life")
    assert json.loads(podman.ok("inspect", "life"))[0]["State"]["Status"] == "paused"
    podman.ok("unpause", "life")
    assert "sleep" in podman.ok("top", "life", "args")
    podman.ok("stop", "life")
    found = json.loads(podman.ok("inspect", "life"))[0]
    assert found["State"]["ExitCode"] == 5 and found["OCIRuntime"].endswith("/tiffin-runtime")
    assert podman.ok("logs", "life") == "bye"
    podman.ok("start", "life")
    podman.ok("rm", "--force", "--time", "0", "life")


def test_podman_gives_a_terminal_and_a_user_namespace(podman: Podman, tmp_path: Path) -> None:
    assert podman.run("tty", options=("--rm", "-t")).stdout.strip() == "/dev/pts/0"
    subprocess.run(["cp", "-a", template(), podman.directory / "mapped"], check=True)
    subprocess.run(["chown", "-R", "100000:100000", podman.directory / "mapped"], check=True)
    for directory in (podman.directory, *podman.directory.parents):
        if str(directory).startswith("/tmp/"):
            directory.chmod(directory.stat().st_mode | 0o011)  # the container's root passes
    options = ("--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    done = podman.run(
        "sh", "-c", "cat /proc/self/uid_map; id -u", root=podman.directory / "mapped", options=options
    )
    assert done.stdout.split() == ["0", "100000", "65536", "0"], done.stderr


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[Docker]:
    options = ("--add-runtime", f"tiffin={program}", "--exec-opt", "native.cgroupdriver=cgroupfs")
    daemon = Docker(tmp_path_factory.mktemp("dockerd"), *options)
    daemon("import", str(busybox_tar()), "busybox")
    yield daemon
    daemon.close()


def test_docker_runs_its_containers_on_it(docker: Docker) -> None:
    words = ("run", "--runtime", "tiffin", "--network", "none")
    assert docker(*words, "--rm", "busybox", "sh", "-c", "echo $((6 * 7))") == "42\n"
    docker(
        *words,
        "-d",
        "--name",
        "life",
        "busybox",
        "sh",
        "-c",
        'trap "exit 5" TERM; while :; do sleep 0.05; done',
    )
    assert docker("exec", "life", "id", "-u").strip() == "0"
    docker("pause", "life")
    docker("unpause", "life")
    docker("stop", "life")
    assert docker("wait", "life").strip() == "5"
    assert docker("inspect", "--format", "{{.HostConfig.Runtime}}", "life").strip() == "tiffin"
    docker("rm", "life")


def test_docker_learns_why_a_command_is_not_executed(docker: Docker) -> None:
    done = docker._ask("run", "--runtime", "tiffin", "--network", "none", "--rm", "busybox", "nosuch")
    assert done.returncode == 127 and b"executable file not found" in done.stderr, done


def test_docker_kills_for_want_of_memory_and_says_so(docker: Docker) -> None:
    words = ("run", "--runtime", "tiffin", "--network", "none", "-m", "16m", "--name", "hog")
    done = docker._ask(*words, "busybox", "sh", "-c", "x=a; while :; do x=$x$x; done")
    assert done.returncode != 0
    deadline = time.monotonic() + 10
    while docker("inspect", "--format", "{{.State.Status}}", "hog").strip() != "exited":
        assert time.monotonic() < deadline
    docker("rm", "hog")
