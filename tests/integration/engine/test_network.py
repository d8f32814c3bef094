"""What the engine makes of the network room: published ports, inspect, port, refusals."""

import socket
import urllib.request

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin import Conflict, CreateOptions, InvalidArgument, NotFound

pytestmark = pytest.mark.root

SERVER = "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_a_published_port_is_reached_shown_and_given_back(ground: Ground) -> None:
    port = free_port()
    container = ground.start("sh", "-c", SERVER, network="bridge", publish=(f"{port}:80",))
    await_that(lambda: fetch(port) == "hello\n")
    assert [tuple(binding) for binding in ground.containers.port(container)] == [(80, "tcp", "0.0.0.0", port)]
    network = ground.containers.inspect(container)["NetworkSettings"]
    assert network["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}]}
    assert network["IPAddress"] == network["Networks"]["bridge"]["IPAddress"] != ""
    assert ground.containers.list()[0].ports == f"0.0.0.0:{port}->80/tcp"
    ground.containers.kill(container)
    assert not ground.containers.port(container)
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", port))


def test_a_port_is_given_once(ground: Ground) -> None:
    port = free_port()
    ground.start("sleep", "1000", network="bridge", publish=(f"{port}:80",))
    second = ground.create("true", network="bridge", publish=(f"{port}:80",))
    with pytest.raises(Conflict, match=f"Bind for 0.0.0.0:{port} failed: port is already allocated"):
        ground.containers.start(second)
    state = ground.state(second)
    assert (state["Status"], state["ExitCode"]) == ("created", 128)


def test_any_free_port_is_chosen_and_said(ground: Ground) -> None:
    container = ground.start("sh", "-c", SERVER, network="bridge", expose=("80",), publish_all=True)
    (binding,) = ground.containers.port(container)
    await_that(lambda: fetch(binding.host_port) == "hello\n")


def test_ports_without_a_network_of_its_own_are_discarded_with_a_warning(ground: Ground) -> None:
    for network in ("host", "none"):
        created = ground.containers.create(
            CreateOptions("busybox", ("true",), network=network, publish=("80",))
        )
        assert created.warnings
        ground.containers.start(created.id)
        assert ground.containers.wait(created.id) == 0


def test_networks_that_are_not_there(ground: Ground) -> None:
    with pytest.raises(NotFound, match="network nowhere not found"):
        ground.create("true", network="nowhere")
    with pytest.raises(InvalidArgument, match="conflicting options"):
        ground.create("true", network="container:x", publish=("80",))
    with pytest.raises(NotFound, match="No such container: x"):
        ground.create("true", network="container:x")
