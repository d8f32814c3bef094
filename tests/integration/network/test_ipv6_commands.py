"""Networks by the command line on a machine of namespaces, with IPv6: who reaches whom by name and by address, what is
shown, and what the pages say."""

from __future__ import annotations

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.command import Tiffin, fresh_engine
from tests.docs import run_page
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
def tiffin(engine: Tiffin) -> Iterator[Tiffin]:
    yield engine
    ids = engine.ok("ps", "-aq").split()
    if ids:
        engine.ok("rm", "-f", *ids)
    names = engine.ok("network", "ls", "-q", "--filter", "type=custom").split()
    if names:
        engine.ok("network", "rm", *names)


def six(tiffin: Tiffin, container: str, network: str) -> str:
    return str(joined(tiffin, container)[network]["GlobalIPv6Address"])


def inspect(tiffin: Tiffin, network: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tiffin.ok("network", "inspect", network))[0]
    return found


def fetch_from_outside(place: Lab, url: str) -> str:
    command = ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", url]
    with inside(place.outside):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def test_six_containers_reach_exactly_those_they_should(tiffin: Tiffin) -> None:
    for name in ("front", "back"):
        tiffin.ok("network", "create", "--ipv6", name)
    where = {"f1": "front", "f2": "front", "f3": "front", "b1": "back", "b2": "back", "b3": "back"}
    for name, network in where.items():
        server(tiffin, name, "--network", network)
    hosts: dict[str, list[str]] = {}
    for name, network in where.items():
        its = joined(tiffin, name)[network]
        hosts[name] = [name, its["IPAddress"], f"[{its['GlobalIPv6Address']}]"]

    def reached(source: str) -> dict[str, int]:
        """How often each server was reached, at its name and both addresses: all asked at once."""
        urls = [f"http://{host}/" for each in hosts.values() for host in each]
        script = "".join(f"(timeout 3 wget -qO- {url}) & " for url in urls)
        answers = tiffin("exec", source, "sh", "-c", f"{script} wait").stdout.split()
        return {name: answers.count(name) for name in set(answers)}

    def check(*, joined_back: bool) -> None:
        front, back = dict.fromkeys(("f1", "f2", "f3"), 3), dict.fromkeys(("b1", "b2", "b3"), 3)
        with ThreadPoolExecutor() as pool:
            f1, f2, b1 = pool.map(reached, ("f1", "f2", "b1"))
        assert f2 == front
        assert f1 == (front | back if joined_back else front)
        assert b1 == (back | {"f1": 1} if joined_back else back), (
            "f1 by its name: it has a second place there"
        )

    check(joined_back=False)
    tiffin.ok("network", "connect", "back", "f1")
    check(joined_back=True)
    subprocess.run(["nft", "flush", "ruleset"], check=True)  # of the lab's own namespace
    tiffin.ok("ps")
    check(joined_back=True)
    tiffin.ok("network", "disconnect", "back", "f1")
    check(joined_back=False)


def test_inspect_and_the_files_tell_of_it(tiffin: Tiffin) -> None:
    tiffin.ok(
        "network", "create", "--ipv6", "--subnet", "10.77.3.0/24", "--subnet", "fd00:77:3::/64",
        "--gateway", "fd00:77:3::9", "--ip-range", "fd00:77:3::a0/124", "--aux-address", "router=fd00:77:3::a0", "dual",
    )  # fmt: skip
    server(tiffin, "one", "--network", "dual", "--ip6", "FD00:77:3:0::5")
    server(tiffin, "two", "--network", "name=dual,ip6=fd00:77:3::6")
    server(tiffin, "three", "--network", "dual")
    one = joined(tiffin, "one")["dual"]
    assert one["IPAMConfig"] == {"IPv6Address": "fd00:77:3::5"}
    assert one["IPv6Gateway"] == "fd00:77:3::9" and one["IPAddress"].startswith("10.77.3.")
    assert (one["GlobalIPv6Address"], one["GlobalIPv6PrefixLen"]) == ("fd00:77:3::5", 64)
    assert six(tiffin, "three", "dual") == "fd00:77:3::a1"
    shown = inspect(tiffin, "dual")
    assert shown["EnableIPv4"] and shown["EnableIPv6"]
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.77.3.0/24", "IPRange": "", "Gateway": "10.77.3.1"},
        {
            "Subnet": "fd00:77:3::/64",
            "IPRange": "fd00:77:3::a0/124",
            "Gateway": "fd00:77:3::9",
            "AuxiliaryAddresses": {"router": "fd00:77:3::a0"},
        },
    ]
    members = {member["Name"]: member for member in shown["Containers"].values()}
    assert members["two"]["IPv6Address"] == "fd00:77:3::6/64"
    assert (
        tiffin.ok("network", "ls", "--filter", "name=dual", "--format", "{{.IPv4}} {{.IPv6}}") == "true true"
    )
    hosts = [line.split() for line in tiffin.ok("exec", "one", "cat", "/etc/hosts").splitlines()]
    assert ["fd00:77:3::5", "one"] in hosts and [one["IPAddress"], "one"] in hosts
    told = tiffin("exec", "one", "nslookup", "-type=aaaa", "two").stdout
    assert "fd00:77:3::6" in told and "10.77.3." not in told
    assert "two.dual" in tiffin("exec", "one", "nslookup", "fd00:77:3::6").stdout
    route = tiffin.ok("exec", "one", "ip", "-6", "route")
    assert "default via fd00:77:3::9" in route
    tiffin.ok("network", "create", "--ipv6", "other")
    tiffin.ok("network", "connect", "--ip6", "fd00:77:3::7", "dual", tiffin.ok("create", "busybox", "true"))
    error = tiffin.fails("network", "connect", "--ip6", "fd00:78::7", "other", "one")
    assert "no configured subnet or ip-range contain the IP address fd00:78::7" in error
    error = tiffin.fails("run", "--network", "dual", "--ip6", "10.77.3.9", "busybox", "true", code=125)
    assert "invalid IPv6 address: 10.77.3.9" in error
    error = tiffin.fails("run", "--network", "dual", "--ip6", "fd00:77:3::5", "busybox", "true", code=125)
    assert "Address already in use: fd00:77:3::5" in error


def test_published_ports_are_shown_and_reached(tiffin: Tiffin, place: Lab) -> None:
    tiffin.ok("network", "create", "--ipv6", "dual")
    server(
        tiffin,
        "web",
        "--network",
        "dual",
        "-p",
        "8080:80",
        "-p",
        f"[{MACHINE6}]:9090:80",
        "-p",
        "7000-7001:80/udp",
    )
    for url in (f"http://[{MACHINE6}]:8080/", f"http://[{MACHINE6}]:9090/"):
        assert fetch_from_outside(place, url) == "web"
    assert tiffin.ok("port", "web", "80").splitlines() == ["0.0.0.0:8080", f"[{MACHINE6}]:9090", "[::]:8080"]
    shown = tiffin.ok("ps", "--format", "{{.Ports}}")
    assert (
        "0.0.0.0:8080->80/tcp" in shown and f"[{MACHINE6}]:9090->80/tcp" in shown and "[::]:8080->80" in shown
    )
    document = json.loads(tiffin.ok("inspect", "web"))[0]
    ports = document["NetworkSettings"]["Ports"]["80/tcp"]
    assert {"HostIp": "::", "HostPort": "8080"} in ports and {
        "HostIp": "0.0.0.0",
        "HostPort": "8080",
    } in ports
    asked = document["HostConfig"]["PortBindings"]["80/tcp"]
    assert asked == [{"HostIp": "", "HostPort": "8080"}, {"HostIp": MACHINE6, "HostPort": "9090"}]
    log = tiffin.ok("run", "--rm", "--network", "dual", "busybox", "ip", "-6", "route", "get", OUTSIDE6)
    assert "dev eth0" in log


def test_ports_follow_to_the_first_network_that_has_a_family(tiffin: Tiffin, place: Lab) -> None:
    """While the container runs: published at once, held from others, gone with the container, back with a restart."""
    tiffin.ok("network", "create", "--ipv6", "dual")
    server(tiffin, "web", "-p", "8080:80", "-p", "80", "-p", "127.0.0.1:8085:80")
    refusals = f"http://[{MACHINE6}]:8080/"
    assert fetch_from_outside(place, refusals) == ""
    tiffin.ok("network", "connect", "dual", "web")
    assert fetch_from_outside(place, f"http://[{MACHINE6}]:8080/") == "web"
    bound = json.loads(tiffin.ok("inspect", "web"))[0]["NetworkSettings"]["Ports"]["80/tcp"]
    free = {one["HostPort"] for one in bound} - {"8080", "8085"}
    assert len(free) == 1 and sorted(one["HostIp"] for one in bound) == [
        "0.0.0.0",
        "0.0.0.0",
        "127.0.0.1",
        "::",
        "::",
    ]
    with pytest.raises(OSError, match="in use"), socket.socket(socket.AF_INET6) as other:
        other.bind(("::", 8080))
    tiffin.ok("network", "disconnect", "dual", "web")
    assert fetch_from_outside(place, refusals) == ""
    assert fetch_from_outside(place, f"http://{MACHINE}:8080/") == "web"
    tiffin.ok("network", "connect", "dual", "web")
    assert fetch_from_outside(place, f"http://[{MACHINE6}]:8080/") == "web"
    tiffin.ok("stop", "-t", "0", "web")
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 8080))
        error = tiffin.fails("start", "web")
    assert "Bind for [::]:8080 failed: port is already allocated" in error


def test_a_network_is_not_joined_when_a_port_is_taken_in_its_family(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "--ipv6", "dual")
    server(tiffin, "web", "-p", "8080:80")
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 8080))
        error = tiffin.fails("network", "connect", "dual", "web")
    assert "Bind for [::]:8080 failed: port is already allocated" in error
    assert list(joined(tiffin, "web")) == ["bridge"]
    assert tiffin.ok("exec", "web", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    tiffin.ok("network", "connect", "dual", "web")
    assert "[::]:8080" in tiffin.ok("port", "web")


def test_ports_wait_for_the_first_network_with_a_way_out(tiffin: Tiffin, place: Lab) -> None:
    tiffin.ok("network", "create", "--internal", "vault")
    tiffin.ok("network", "create", "front")
    server(tiffin, "web", "--network", "vault", "-p", "8080:80")
    assert fetch_from_outside(place, f"http://{MACHINE}:8080/") == ""
    tiffin.ok("network", "connect", "front", "web")
    assert fetch_from_outside(place, f"http://{MACHINE}:8080/") == "web"


def test_sctp_has_rules_and_is_shown(tiffin: Tiffin) -> None:
    """The kernel of a test machine may know nothing of SCTP; its packets are led like others."""
    tiffin.ok("network", "create", "--ipv6", "dual")
    server(tiffin, "one", "--network", "dual", "-p", "132:132/sctp", "-p", "133/sctp")
    bound = json.loads(tiffin.ok("inspect", "one"))[0]["NetworkSettings"]["Ports"]
    assert bound["132/sctp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "132"},
        {"HostIp": "::", "HostPort": "132"},
    ]
    first, second = bound["133/sctp"]
    assert first["HostPort"] == second["HostPort"] and int(first["HostPort"]) >= 1024
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    for family in ("IPAddress", "GlobalIPv6Address"):
        assert f"sctp . 132 : {joined(tiffin, 'one')['dual'][family]} . 132" in rules
    error = tiffin.fails("run", "-d", "-p", "132:132/sctp", "busybox", "sleep", "9", code=125)
    assert "Bind for 0.0.0.0:132 failed: port is already allocated" in error
    server(tiffin, "two", "-p", "132:132")
    tiffin.ok("rm", "-f", "one")
    server(tiffin, "three", "-p", "132:132/sctp")


def test_what_is_exposed_is_published_by_P(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "--ipv6", "--ipv4=false", "six")
    server(
        tiffin,
        "one",
        "--network",
        "six",
        "-P",
        "--expose",
        "80",
        "--expose",
        "5000-5001/udp",
        "--expose",
        "9/sctp",
    )
    bound = json.loads(tiffin.ok("inspect", "one"))[0]["NetworkSettings"]["Ports"]
    assert set(bound) == {"80/tcp", "5000/udp", "5001/udp", "9/sctp"}
    assert all(len(where) == 1 and where[0]["HostIp"] == "::" for where in bound.values())
    assert joined(tiffin, "one")["six"]["IPAddress"] == ""
    assert inspect(tiffin, "six")["EnableIPv4"] is False


@pytest.mark.parametrize("family", ["4", "6"])
def test_bad_input_is_refused_in_dockers_words(tiffin: Tiffin, family: str) -> None:
    def subnet(text: str) -> list[str]:
        return ["--subnet", text] if family == "4" else ["--ipv6", "--ipv4=false", "--subnet", text]

    small, wider, free, taken = (
        ("10.78.0.0/30", "10.78.0.0/16", "10.79.0.0/24", "10.78.0.2")
        if family == "4"
        else ("fd00:78::/126", "fd00:78::/32", "fd00:79::/64", "fd00:78::2")
    )
    option = "--ip" if family == "4" else "--ip6"
    tiffin.ok("network", "create", *subnet(small), "small")
    error = tiffin.fails("network", "create", *subnet(wider), "second")
    assert "invalid pool request: Pool overlaps with other one on this address space" in error
    error = tiffin.fails("network", "create", *subnet(free), "small")
    assert "network with name small already exists" in error
    server(tiffin, "one", "--network", "small", option, taken)
    held = tiffin.fails("run", "--network", "small", option, taken, "busybox", "true", code=125)
    assert f"Address already in use: {taken}" in held
    if family == "6":
        server(tiffin, "two", "--network", "small")
    full = tiffin.fails("run", "--network", "small", "busybox", "true", code=125)
    assert f"no available IPv{family} addresses on this network's address pools: small" in full
    error = tiffin.fails("network", "rm", "small")
    assert (
        "error while removing network: network small has active endpoints" in error and 'name:"one"' in error
    )
    unknown = tiffin.fails("run", "--network", "nowhere", "busybox", "true", code=125)
    assert "network nowhere not found" in unknown
    assert "network nowhere not found" in tiffin.fails("network", "connect", "nowhere", "one")
    assert "network nowhere not found" in tiffin.fails("network", "rm", "nowhere")
    error = tiffin.fails("network", "create", *subnet("nonsense/99"), "third")
    assert "invalid subnet 'nonsense/99'" in error
    tiffin.ok("rm", "-f", "one")
    tiffin.ok("run", "--rm", "--network", "small", option, taken, "busybox", "true")
    assert tiffin.ok("network", "ls", "-q", "--filter", "name=second", "--filter", "name=third") == ""


def test_the_page_of_ipv6_does_what_it_says(tiffin: Tiffin, tmp_path: Path) -> None:
    told = run_page("ipv6.md", tiffin, tmp_path)
    for expected in ("fd00:77:6::7", "default via fd00:77:6::1", "0.0.0.0:8086", "[::]:8086"):
        assert expected in told, expected


def test_the_page_of_networks_does_what_it_says(tiffin: Tiffin, tmp_path: Path) -> None:
    """Here for the machine of its own: it takes ports by number."""
    told = run_page("networks.md", tiffin, tmp_path)
    for expected in (
        "no db for api",
        "10.77.9.7/24",
        "02:42:0a:4d:09:07",
        "10.77.9.0/24",
        "Deleted Networks:",
        "127.0.0.1:8087",
        "7001/udp -> 0.0.0.0:7001",
        "81/tcp -> 0.0.0.0:7100",
        "2905/sctp -> 0.0.0.0:2905",
        "taken",
    ):
        assert expected in told, told
