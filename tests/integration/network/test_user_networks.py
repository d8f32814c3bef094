"""Networks that users make, by the command line: who reaches whom, before and after joining and leaving, and after
the rules were lost."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import Tiffin, fresh_engine
from tests.integration.network.lab import Lab, lab
from tiffin.network.firewall import Firewall
from tiffin.state import locate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

SERVE = ("sh", "-c", "mkdir /w; hostname > /w/index.html; exec httpd -f -p 80 -h /w")


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    """Not the machine's own namespace: whoever develops may use the addresses there that these tests choose."""
    with lab() as made:
        yield made


@pytest.fixture(scope="module")
def engine(place: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine")) as made:
        yield made
        for name in made.ok("network", "ls", "-q", "--filter", "type=custom").split():
            made.ok("network", "rm", name)


@pytest.fixture
def tiffin(engine: Tiffin) -> Iterator[Tiffin]:
    yield engine
    ids = engine.ok("ps", "-aq").split()
    if ids:
        engine.ok("rm", "-f", *ids)
    for name in engine.ok("network", "ls", "-q", "--filter", "type=custom").split():
        engine.ok("network", "rm", name)


def server(tiffin: Tiffin, name: str, *options: str) -> None:
    """A container whose server answers at port 80."""
    tiffin.ok("run", "-d", "--name", name, "--hostname", name, *options, "busybox", *SERVE)
    await_listener(tiffin.ok("inspect", "-f", "{{.State.Pid}}", name), 80)


def await_listener(pid: str, port: int, seconds: float = 30) -> None:
    """Until something in the network namespace of a process listens at a TCP port."""
    until = time.monotonic() + seconds
    while True:
        for name in ("tcp", "tcp6"):
            with open(f"/proc/{pid}/net/{name}") as file:
                rows = [line.split() for line in file.readlines()[1:]]
            if any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows):
                return
        assert time.monotonic() < until, f"nothing listens at port {port}"
        time.sleep(0.01)


def address(tiffin: Tiffin, container: str, network: str) -> str:
    return str(joined(tiffin, container)[network]["IPAddress"])


def joined(tiffin: Tiffin, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tiffin.ok("inspect", container))[0]["NetworkSettings"]["Networks"]
    return found


def fetch(tiffin: Tiffin, container: str, host: str) -> str:
    """What a container gets from a host's server; "" for no connection."""
    done = tiffin("exec", container, "timeout", "1", "wget", "-q", "-O", "-", f"http://{host}/")
    return str(done.stdout).strip()


def reached(tiffin: Tiffin, container: str, hosts: dict[str, str]) -> set[str]:
    """Those of the servers at `hosts` that answer a container with their name: asked all at once."""
    script = "".join(f"(timeout 2 wget -qO- http://{host}/) & " for host in hosts.values())
    answers = set(tiffin("exec", container, "sh", "-c", f"{script} wait").stdout.split())
    assert answers <= set(hosts)
    return answers


def table(tiffin: Tiffin) -> str:
    return Firewall(locate(str(tiffin.root), str(tiffin.run_directory)).engine).table


def test_six_containers_reach_exactly_those_they_should(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    tiffin.ok("network", "create", "back")
    where = {"f1": "front", "f2": "front", "f3": "front", "b1": "back", "b2": "back", "b3": "back"}
    for name, network in where.items():
        server(tiffin, name, "--network", network)
    addresses = {name: address(tiffin, name, network) for name, network in where.items()}

    def check(networks: dict[str, set[str]]) -> None:
        for source in ("f1", "f2", "b1"):
            expected = {name for name in where if networks[source] & {where[name]}}
            assert reached(tiffin, source, addresses) == expected, source

    alone = {name: {network} for name, network in where.items()}
    check(alone)
    tiffin.ok("network", "connect", "back", "f1")
    check(alone | {"f1": {"front", "back"}})
    subprocess.run(["nft", "delete", "table", "ip", table(tiffin)], check=True)
    tiffin.ok("ps")
    check(alone | {"f1": {"front", "back"}})
    tiffin.ok("network", "disconnect", "back", "f1")
    check(alone)


def test_inspect_tells_of_every_network(tiffin: Tiffin) -> None:
    identity = tiffin.ok(
        "network", "create", "--subnet", "10.77.3.0/24", "--ip-range", "10.77.3.128/25", "--gateway", "10.77.3.9",
        "--aux-address", "router=10.77.3.128", "--label", "stage=test", "fixed",
    )  # fmt: skip
    tiffin.ok("network", "create", "other")
    server(tiffin, "one", "--network", "name=fixed,ip=10.77.3.5,alias=first", "--network", "other")
    server(tiffin, "two", "--network", "fixed", "--mac-address", "02:42:00:00:00:07")
    one, two = joined(tiffin, "one"), joined(tiffin, "two")["fixed"]
    assert list(one) == ["fixed", "other"]
    assert one["fixed"]["IPAddress"] == "10.77.3.5" and one["fixed"]["Gateway"] == "10.77.3.9"
    assert one["fixed"]["IPAMConfig"] == {"IPv4Address": "10.77.3.5"}
    assert one["fixed"]["Aliases"] == ["first"] and one["fixed"]["NetworkID"] == identity
    assert two["IPAddress"] == "10.77.3.129", "the first of the range that is not reserved"
    assert two["MacAddress"] == "02:42:00:00:00:07"
    assert "02:42:00:00:00:07" in tiffin.ok("exec", "two", "cat", "/sys/class/net/eth0/address")
    network = json.loads(tiffin.ok("network", "inspect", identity[:8]))[0]
    assert network["IPAM"]["Config"] == [
        {
            "Subnet": "10.77.3.0/24",
            "IPRange": "10.77.3.128/25",
            "Gateway": "10.77.3.9",
            "AuxiliaryAddresses": {"router": "10.77.3.128"},
        }
    ]
    assert sorted(member["Name"] for member in network["Containers"].values()) == ["one", "two"]
    assert network["Labels"] == {"stage": "test"}
    assert (
        tiffin.ok("ps", "--filter", "network=other", "--format", "{{.Names}} {{.Networks}}")
        == "one fixed,other"
    )
    assert tiffin.ok("network", "ls", "--filter", "label=stage=test", "--format", "{{.Name}}") == "fixed"
    tiffin.ok("stop", "-t", "0", "two")
    assert joined(tiffin, "two")["fixed"]["IPAddress"] == ""


def test_a_container_joins_before_it_starts_and_leaves_everything(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    tiffin.ok("create", "--name", "one", "busybox", *SERVE)
    tiffin.ok("network", "connect", "--alias", "web", "front", "one")
    tiffin.ok("start", "one")
    assert list(joined(tiffin, "one")) == ["bridge", "front"]
    assert "eth1" in tiffin.ok("exec", "one", "ls", "/sys/class/net")
    tiffin.ok("network", "disconnect", "bridge", "one")
    tiffin.ok("network", "disconnect", "front", "one")
    assert "eth" not in tiffin.ok("exec", "one", "ls", "/sys/class/net")
    tiffin.ok("network", "connect", "front", "one")
    assert address(tiffin, "one", "front") in tiffin.ok("exec", "one", "ip", "-4", "addr", "show", "eth0")
    assert "default via" in tiffin.ok("exec", "one", "ip", "route")
    tiffin.ok("restart", "-t", "0", "one")
    assert list(joined(tiffin, "one")) == ["front"]


def test_ports_follow_the_container_from_network_to_network(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    tiffin.ok("network", "create", "--internal", "vault")
    server(tiffin, "web", "--network", "front", "-p", "127.0.0.1::80")
    port = tiffin.ok("port", "web", "80").rpartition(":")[2]

    def get() -> str:
        done = subprocess.run(
            ["curl", "-s", "--noproxy", "*", "-m", "2", f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    assert get() == "web"
    tiffin.ok("network", "connect", "vault", "web")
    assert get() == "web"
    tiffin.ok("network", "disconnect", "front", "web")
    assert get() == ""
    tiffin.ok("network", "connect", "front", "web")
    assert get() == "web"
    assert tiffin.ok("port", "web", "80") == f"127.0.0.1:{port}"


def test_an_internal_network_has_no_way_out(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "--internal", "vault")
    server(tiffin, "in", "--network", "vault")
    server(tiffin, "in2", "--network", "vault")
    server(tiffin, "out")
    assert fetch(tiffin, "in", address(tiffin, "in2", "vault")) == "in2"
    assert fetch(tiffin, "in", address(tiffin, "out", "bridge")) == ""
    assert "default" not in tiffin.ok("exec", "in", "ip", "route")
    # With a route of its own making it does not get out either.
    gateway = json.loads(tiffin.ok("network", "inspect", "vault"))[0]["IPAM"]["Config"][0]["Gateway"]
    tiffin("exec", "--privileged", "in", "ip", "route", "add", "default", "via", gateway)
    assert fetch(tiffin, "in", address(tiffin, "out", "bridge")) == ""
    assert fetch(tiffin, "out", address(tiffin, "in", "vault")) == ""


def test_ports_that_name_no_address_are_published_at_the_settings_one(
    tiffin: Tiffin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text('[network]\ndefault-address = "127.0.0.1"\n')
    monkeypatch.setenv("TIFFIN_CONFIG", str(settings))
    words = ("-p", "80", "-p", "0.0.0.0::81", "-p", "127.0.0.2::82", "--expose", "83", "-P")
    tiffin.ok("create", "--name", "one", *words, "busybox", "true")
    asked = json.loads(tiffin.ok("inspect", "one"))[0]["HostConfig"]["PortBindings"]
    assert {port: bindings[0]["HostIp"] for port, bindings in asked.items()} == {
        "80/tcp": "127.0.0.1",
        "81/tcp": "0.0.0.0",
        "82/tcp": "127.0.0.2",
        "83/tcp": "127.0.0.1",
    }
    settings.write_text('[network]\ndefault-address = "home"\n')
    assert "network.default-address of the settings file: invalid" in tiffin.fails(
        "create", "-p", "80", "busybox", "true", code=125
    )


def test_containers_of_an_isolated_network_do_not_see_each_other(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "apart")
    server(tiffin, "one", "--network", "apart")
    server(tiffin, "two", "--network", "apart")
    assert fetch(tiffin, "one", address(tiffin, "two", "apart")) == ""


def test_a_container_shares_the_network_of_another(tiffin: Tiffin) -> None:
    server(tiffin, "web")
    told = tiffin.ok(
        "run", "--rm", "--network", "container:web", "busybox",
        "sh", "-c", "hostname; wget -qO- 127.0.0.1; cat /etc/hosts",
    )  # fmt: skip
    assert told.split()[:2] == ["web", "web"]
    assert address(tiffin, "web", "bridge") in told
    refused = tiffin.fails("run", "--network", "container:web", "-p", "80", "busybox", code=125)
    assert "conflicting options: port publishing and the container type network mode" in refused


def test_bad_input_is_refused_in_dockers_words(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "--subnet", "10.77.4.0/24", "front")

    def create(*words: str, code: int = 1) -> str:
        return tiffin.fails("network", "create", *words, code=code)

    assert "network with name front already exists" in create("front")
    assert "Pool overlaps with other one on this address space" in create("--subnet", "10.77.0.0/16", "x")
    assert "operation is not permitted on predefined bridge network" in create("bridge")
    assert 'plugin "weave" not found' in create("-d", "weave", "x")
    assert "no matching subnet for gateway" in create(
        "--subnet", "10.77.5.0/24", "--gateway", "10.1.1.1", "x"
    )
    assert "network nope not found" in tiffin.fails("run", "--network", "nope", "busybox", "true", code=125)
    assert "network nope not found" in tiffin.fails("network", "rm", "nope")
    assert "pre-defined network" in tiffin.fails("network", "rm", "host")
    bad = tiffin.fails("run", "--network", "front", "--ip", "10.78.4.2", "busybox", "true", code=125)
    assert "no configured subnet or ip-range contain the IP address 10.78.4.2" in bad
    bad = tiffin.fails("run", "--ip", "10.78.4.2", "busybox", "true", code=125)
    assert "user specified IP address is supported on user defined networks only" in bad
    server(tiffin, "one", "--network", "front", "--ip", "10.77.4.2")
    assert "Address already in use" in tiffin.fails(
        "run", "--rm", "--network", "front", "--ip", "10.77.4.2", "busybox", "true", code=125
    )
    assert "has active endpoints" in tiffin.fails("network", "rm", "front")
    assert "already exists in network front" in tiffin.fails("network", "connect", "front", "one")
    assert "is not connected to the network" in tiffin.fails("network", "disconnect", "bridge", "one")
    tiffin.ok("network", "create", "--subnet", "10.77.6.0/30", "tiny")
    server(tiffin, "two", "--network", "tiny")
    full = tiffin.fails("run", "--rm", "--network", "tiny", "busybox", "true", code=125)
    assert "no available IPv4 addresses on this network's address pools: tiny" in full


def test_prune_takes_only_what_no_container_has(tiffin: Tiffin) -> None:
    for name in ("used", "idle"):
        tiffin.ok("network", "create", name)
    tiffin.ok("create", "--network", "used", "busybox", "true")
    assert "Deleted Networks:\nidle" in tiffin.ok("network", "prune", "-f")
    assert tiffin.ok("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}") == "used"


def test_system_prune_takes_networks_that_no_container_is_left_in(tiffin: Tiffin) -> None:
    for name, label in (("kept", "a"), ("ended", "b"), ("idle", "b")):
        tiffin.ok("network", "create", "--label", f"stage={label}", name)
    server(tiffin, "runs", "--network", "kept")
    tiffin.ok("run", "--name", "done", "--label", "stage=b", "--network", "ended", "busybox", "true")
    listed = tiffin("system", "prune", "--filter", "label=stage=b", input="n\n")
    assert listed.returncode == 1
    assert "NETWORK\nended\nidle\n" in listed.stdout and "kept" not in listed.stdout
    removed = tiffin.ok("system", "prune", "-f", "--filter", "label=stage=b")
    assert "Deleted Networks:\nended\nidle\n" in removed
    assert tiffin.ok("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}") == "kept"


def test_events_tell_of_networks(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    tiffin.ok("run", "--rm", "--network", "front", "busybox", "true")
    tiffin.ok("network", "rm", "front")
    told = tiffin.ok(
        "events", "--since", "1h", "--until", "0s", "--filter", "type=network",
        "--format", "{{.Action}} {{.Actor.Attributes.name}}",
    ).splitlines()  # fmt: skip
    assert told[-4:] == ["create front", "connect front", "disconnect front", "destroy front"]
