"""Beside a real dockerd with its bridge and its iptables rules, in a network namespace that both engines share and that
has a neighbour: who reaches whom."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import Tiffin, fresh_engine
from tests.images import busybox_tar
from tests.integration.network.lab import MACHINE, OUTSIDE, inside, new_namespace
from tests.integration.network.test_user_networks import SERVE
from tests.integration.peers import Docker, need
from tiffin.kernel import netlink

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]


class Beside(Tiffin):
    """tiffin in the network namespace of a process."""

    pid = 0

    def argv(self, *words: str | Path) -> list[str]:
        prefix = ["nsenter", f"--net=/proc/{self.pid}/ns/net"] if self.pid else []
        return [*prefix, *super().argv(*words)]


class Scene:
    """Both engines, and a neighbour of their machine."""

    def __init__(self, docker: Docker, tiffin: Beside, outside: int) -> None:
        self.docker, self.tiffin, self.outside = docker, tiffin, outside

    def enter(self, *command: str) -> str:
        """What a command says in the machine's namespace."""
        words = ["nsenter", f"--net=/proc/{self.docker.pid}/ns/net", *command]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def asks(self, source: str, url: str) -> str:
        """What the server there says to a container, or to the neighbour; "" for nothing."""
        fetch = ("timeout", "2", "wget", "-q", "-O", "-", f"http://{url}/")
        if source == "neighbour":
            with inside(self.outside):
                return subprocess.run(
                    ["busybox", *fetch[2:]], capture_output=True, text=True, timeout=20
                ).stdout.strip()
        if source.startswith("docker"):
            return self.docker("exec", source, "sh", "-c", f"{' '.join(fetch)} || :").strip()
        return str(self.tiffin("exec", source, *fetch).stdout).strip()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    need("iptables-nft")
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="tfd-", dir="/tmp"))
        (Path(place) / "docker").mkdir()
        docker = Docker(Path(place) / "docker", networked=True)
        stack.callback(docker.close)
        outside = stack.enter_context(new_namespace())
        machine = os.open(f"/proc/{docker.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, machine)
        wire(machine, outside)
        tiffin = stack.enter_context(engine(Path(place) / "tiffin", docker.pid))
        docker("import", str(busybox_tar()), "busybox")
        for made in (docker, tiffin.ok):
            made("run", "-d", "--name", "shut", "--hostname", "shut", "busybox", *SERVE)
        docker(
            "run",
            "-d",
            "--name",
            "docker-open",
            "--hostname",
            "docker-open",
            "-p",
            "8080:80",
            "busybox",
            *SERVE,
        )
        stack.callback(docker, "rm", "-f", "shut", "docker-open")
        tiffin.ok("run", "-d", "--name", "open", "--hostname", "open", "-p", "8081:80", "busybox", *SERVE)
        yield Scene(docker, tiffin, outside)


def wire(machine: int, outside: int) -> None:
    """The neighbour's cable."""
    with inside(machine), netlink.Socket() as host:
        host.run(
            netlink.set_link("lo", up=True),
            netlink.add_veth("up0", peer="eth0", peer_netns=outside),
            netlink.set_link("up0", up=True),
        )
        up0 = host.link("up0")
        assert up0 is not None
        host.run(netlink.add_address(up0.ifindex, MACHINE, 24), netlink.add_route(OUTSIDE))
    with inside(outside), netlink.Socket() as far:
        eth0 = far.link("eth0")
        assert eth0 is not None
        far.run(netlink.set_link("eth0", up=True), netlink.add_address(eth0.ifindex, OUTSIDE, 24))


@contextmanager
def engine(directory: Path, pid: int) -> Iterator[Beside]:
    """An engine of the machine that `pid` is on; nothing of its network outlives that."""
    with fresh_engine(directory) as made:
        beside = Beside(directory)
        beside.pid = pid
        try:
            yield beside
        finally:
            ids = beside.ok("ps", "-aq").split()
            if ids:
                beside.ok("rm", "-f", *ids)
        assert made.ok("ps", "-aq") == ""


def addresses(scene: Scene) -> dict[str, str]:
    form = "{{.NetworkSettings.Networks.bridge.IPAddress}}"
    found = {name: scene.docker("inspect", "-f", form, name).strip() for name in ("shut", "docker-open")}
    return {
        "docker's shut": found["shut"],
        "tiffin's shut": scene.tiffin.ok("inspect", "-f", form, "shut"),
        "docker's port": f"{MACHINE}:8080",
        "tiffin's port": f"{MACHINE}:8081",
    }


def reached(scene: Scene, source: str) -> set[str]:
    return {name for name, url in addresses(scene).items() if scene.asks(source, url)}


def test_each_reaches_what_is_published_and_its_own_network(scene: Scene) -> None:
    assert "policy drop" in scene.enter("nft", "list", "chain", "ip", "filter", "FORWARD")
    ports = {"docker's port", "tiffin's port"}
    assert reached(scene, "neighbour") == ports
    assert reached(scene, "open") == ports | {"tiffin's shut"}, "and nothing else of Docker's"
    assert reached(scene, "docker-open") == ports | {"docker's shut"}


def test_dockers_rules_are_left_alone_and_gone_ours_come_back(scene: Scene) -> None:
    listing = ("nft", "-s", "list", "chain", "ip", "filter", "FORWARD")
    before = scene.enter(*listing)
    theirs = [line for line in before.splitlines() if "tiffin_" not in line]
    assert before.count("tiffin_") == 3
    scene.enter("iptables-nft", "-F", "FORWARD")  # as a reload of a firewall does
    scene.tiffin.ok("ps")
    after = scene.enter(*listing)
    assert after.count("tiffin_") == 3
    assert [line for line in theirs if "docker" not in line.lower()] == [
        line for line in after.splitlines() if "tiffin_" not in line
    ]
