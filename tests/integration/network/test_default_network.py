"""What the settings file and `--add-host` say about the default network and the machine."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.command import Tiffin, fresh_engine
from tests.integration.network.lab import MACHINE, MACHINE6, OUTSIDE6, Lab, inside, lab
from tests.integration.network.test_user_networks import joined, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture(scope="module")
def engine(place: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture
def tiffin(engine: Tiffin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiffin]:
    monkeypatch.setenv("TIFFIN_CONFIG", str(tmp_path / "config.toml"))
    settle()
    yield engine
    settle()
    ids = engine.ok("ps", "-aq").split()
    if ids:
        engine.ok("rm", "-f", *ids)
    for name in engine.ok("network", "ls", "-q", "--filter", "type=custom").split():
        engine.ok("network", "rm", name)


def settle(*lines: str) -> None:
    """Have these lines in [network] of the settings file."""
    with open(os.environ["TIFFIN_CONFIG"], "w") as file:
        file.write("[network]\n" + "\n".join(lines) + "\n")


def subnets(tiffin: Tiffin) -> list[str]:
    return tiffin.ok(
        "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", "bridge"
    ).split()


def reaches(tiffin: Tiffin, container: str, listener: socket.socket) -> bool:
    """Whether a process of the container gets a connection there."""
    listener.settimeout(30)
    host, port = listener.getsockname()[:2]
    with tiffin.start("exec", container, "nc", "-w", "20", host, str(port)) as client:
        accepted, _ = listener.accept()
        accepted.close()
        client.communicate(timeout=30)
        return client.returncode == 0


def test_the_default_network_has_ipv6_when_the_settings_say_so(tiffin: Tiffin, place: Lab) -> None:
    server(tiffin, "four")
    settle("ipv6 = true")
    assert len(subnets(tiffin)) == 1, "a container is on it as it is"
    tiffin.ok("rm", "-f", "four")
    server(tiffin, "web", "-p", "8080:80")
    its = joined(tiffin, "web")["bridge"]
    assert its["GlobalIPv6Address"].startswith("fd") and its["IPAddress"]
    four, six = subnets(tiffin)
    assert its["IPv6Gateway"] == six.removesuffix("/64") + "1" and four.endswith("/16")
    assert set(tiffin.ok("port", "web").split()) >= {"0.0.0.0:8080", "[::]:8080"}
    with inside(place.outside), socket.create_connection((MACHINE6, 8080), 30) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).split()[1] == b"200"
    assert "default via" in tiffin.ok("exec", "web", "ip", "-6", "route")
    with inside(place.outside), socket.create_server((OUTSIDE6, 0), family=socket.AF_INET6) as listener:
        assert reaches(tiffin, "web", listener)
    tiffin.ok("rm", "-f", "web")
    settle("ipv6 = true", 'fixed-cidr-v6 = "fd00:77:d:0::/64"')
    tiffin.ok("run", "--rm", "busybox", "ip", "-6", "addr", "show", "eth0")
    assert subnets(tiffin) == [four, "fd00:77:d::/64"]
    settle("ipv6 = true", 'fixed-cidr-v6 = "fd00:77:f::/64"')
    assert subnets(tiffin) == [four, "fd00:77:f::/64"]
    settle()
    tiffin.ok("run", "--rm", "busybox", "true")
    assert subnets(tiffin) == [four]


def test_a_subnet_that_cannot_be_is_refused_by_name(tiffin: Tiffin) -> None:
    settle("ipv6 = true", 'fixed-cidr-v6 = "10.1.0.0/16"')
    error = tiffin.fails("run", "--rm", "busybox", "true", code=125)
    assert "network.fixed-cidr-v6 of the settings file: 10.1.0.0/16 is no IPv6 subnet" in error
    settle()
    tiffin.ok("network", "create", "--ipv6", "--subnet", "fd00:77:e::/64", "own")
    settle("ipv6 = true", 'fixed-cidr-v6 = "fd00:77::/32"')
    error = tiffin.fails("run", "--rm", "busybox", "true", code=125)
    assert "fd00:77::/32 overlaps fd00:77:e::/64 of network own" in error


def test_the_way_out_is_the_network_with_the_highest_priority(tiffin: Tiffin, place: Lab) -> None:
    """Also while it runs, and for its published ports; a restart changes nothing."""
    for name in ("front", "back", "third"):
        tiffin.ok("network", "create", name)
    gateway = {}
    for name in ("front", "back", "third"):
        gateway[name] = tiffin.ok(
            "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}}{{end}}", name
        )

    def way() -> str:
        words = tiffin.ok("exec", "web", "ip", "route", "show", "default").split()
        return next(name for name, address in gateway.items() if address == words[2])

    def answered() -> bool:
        with inside(place.outside), socket.create_connection((MACHINE, 8080), 30) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(4096).split()[1] == b"200"

    server(tiffin, "web", "--network", "front", "--network", "name=back,gw-priority=5", "-p", "8080:80")
    assert way() == "back" and answered()
    tiffin.ok("network", "connect", "third", "web")
    assert way() == "back"
    tiffin.ok("network", "disconnect", "third", "web")
    tiffin.ok("network", "connect", "--gw-priority", "9", "third", "web")
    assert way() == "third" and answered()
    assert [joined(tiffin, "web")[name]["GwPriority"] for name in gateway] == [0, 5, 9]
    tiffin.ok("restart", "-t", "0", "web")
    assert way() == "third"
    tiffin.ok("network", "disconnect", "third", "web")
    assert way() == "back"
    tiffin.ok("network", "disconnect", "back", "web")
    assert way() == "front"
    assert "invalid gw-priority 'x'" in tiffin.fails(
        "network", "connect", "--gw-priority", "x", "back", "web"
    )
    error = tiffin.fails("network", "create", "-d", "host", "other")
    assert 'only one instance of "host" network is allowed' in error


def hosts(tiffin: Tiffin, *options: str) -> list[str]:
    words = ["--add-host", "machine:host-gateway", "busybox", "awk", "/machine/ {print $1}", "/etc/hosts"]
    return tiffin.ok("run", "--rm", *options, *words).split()


def test_host_gateway_is_where_the_container_reaches_the_machine(tiffin: Tiffin) -> None:
    """Of an internal network the bridge's own address, over which nothing is led on; never the container itself."""
    tiffin.ok("network", "create", "--internal", "vault")
    tiffin.ok("network", "create", "--ipv6", "dual")

    def gateways(network: str) -> list[str]:
        form = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
        return tiffin.ok("network", "inspect", "-f", form, network).split()

    for network in ("bridge", "vault", "dual"):
        assert hosts(tiffin, "--network", network) == gateways(network)
    assert hosts(tiffin, "--network", "vault", "--network", "dual") == gateways("dual")
    assert hosts(tiffin, "--network", "none") == gateways("bridge")
    assert hosts(tiffin, "--network", "host") == ["127.0.0.1"]
    (address,) = gateways("vault")
    server(tiffin, "inner", "--network", "vault")
    with socket.create_server((address, 0)) as listener:
        assert reaches(tiffin, "inner", listener)
