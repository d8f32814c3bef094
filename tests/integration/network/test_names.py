"""Names on networks that users made: who is found under which, by whom, and what happens when the resolver dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import Tiffin, fresh_engine
from tests.integration.network.test_user_networks import SERVE, address, server, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root

NOBODY = ("--dns", "127.0.0.1")  # what is none of ours is asked where nobody answers, so at once
POLL = {"x86_64": "7", "aarch64": "73"}[os.uname().machine]  # poll, ppoll


@pytest.fixture
def tiffin(tmp_path: Path) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path / "engine") as made:
        yield made
        ids = made.ok("ps", "-aq").split()
        if ids:
            made.ok("rm", "-f", *ids)
        for name in made.ok("network", "ls", "-q", "--filter", "type=custom").split():
            made.ok("network", "rm", name)
        await_true(lambda: not resolvers(made))


def await_true(test: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end
        time.sleep(0.02)


def waits(pid: int) -> bool:
    """Whether a command waits for an answer, in poll."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False
    return call == POLL


def resolvers(tiffin: Tiffin) -> list[int]:
    """The processes that resolve for this engine: their program names its run directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
        except (NotADirectoryError, FileNotFoundError, ProcessLookupError):
            continue
        if b"tiffin.network.resolver" in words and f"'{tiffin.run_directory}'".encode() in words:
            found.append(int(entry.name))
    return found


def ask(tiffin: Tiffin, container: str, name: str) -> set[str]:
    """The addresses under a name, as nslookup shows them after the server's."""
    told = tiffin("exec", container, "timeout", "30", "nslookup", name).stdout
    lines = told.partition("\n\n")[2].splitlines()
    return {line.split()[-1] for line in lines if line.startswith("Address")}


def test_names_of_the_networks_that_are_shared(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    tiffin.ok("network", "create", "back")
    server(tiffin, "web", "--network", "name=front,alias=www", "--network", "back")
    server(tiffin, "api", "--network", "front", "--network-alias", "pool", *NOBODY)
    server(tiffin, "api2", "--network", "front", "--network-alias", "pool")
    server(tiffin, "db", "--network", "back", *NOBODY)
    assert "nameserver 127.0.0.11" in tiffin.ok("exec", "web", "cat", "/etc/resolv.conf")
    assert len(resolvers(tiffin)) == 1
    api = address(tiffin, "api", "front")
    short = tiffin.ok("ps", "-q", "--filter", "name=api2")
    for name in ("api", "api.front", "API"):
        assert ask(tiffin, "web", name) == {api}
    assert ask(tiffin, "web", short) == {address(tiffin, "api2", "front")}
    assert ask(tiffin, "api", "pool") == {api, address(tiffin, "api2", "front")}
    assert ask(tiffin, "api", "www") == {address(tiffin, "web", "front")}
    assert ask(tiffin, "web", "db") == {address(tiffin, "db", "back")}
    assert ask(tiffin, "db", "api") == set()
    assert "api.front" in tiffin("exec", "web", "nslookup", api).stdout
    often = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- http://pool/; done"
    assert set(tiffin.ok("exec", "web", "sh", "-c", often).split()) == {"api", "api2"}
    tiffin.ok("network", "connect", "--alias", "store", "front", "db")
    assert ask(tiffin, "api", "store") == {address(tiffin, "db", "front")}
    tiffin.ok("rename", "api2", "other")
    assert ask(tiffin, "web", "other") == {address(tiffin, "other", "front")}
    tiffin.ok("network", "disconnect", "front", "db")
    assert ask(tiffin, "api", "store") == set()


def test_a_container_of_the_default_bridge_gets_names_with_its_first_network(tiffin: Tiffin) -> None:
    server(tiffin, "one")
    assert not resolvers(tiffin)
    tiffin.ok("network", "create", "front")
    server(tiffin, "two", "--network", "front")
    tiffin.ok("network", "connect", "front", "one")
    assert ask(tiffin, "one", "two") == {address(tiffin, "two", "front")}


def test_a_link_on_a_named_network_is_a_name_for_one_container_alone(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    tiffin.ok("network", "create", "back")
    server(tiffin, "web", "--network", "front", "--link", "db:Store", *NOBODY)
    server(tiffin, "db", "--network", "front", *NOBODY)
    assert ask(tiffin, "web", "store") == {address(tiffin, "db", "front")}
    assert ask(tiffin, "db", "store") == set()
    server(tiffin, "far", "--network", "back")
    tiffin.ok("network", "connect", "--link", "far:away", "back", "web")
    assert ask(tiffin, "web", "away") == {address(tiffin, "far", "back")}
    joined = json.loads(tiffin.ok("inspect", "web"))[0]["NetworkSettings"]["Networks"]
    assert {name: one["Links"] for name, one in joined.items()} == {
        "front": ["db:Store"],
        "back": ["far:away"],
    }
    tiffin.ok("network", "disconnect", "back", "web")
    tiffin.ok("network", "connect", "back", "web")
    assert ask(tiffin, "web", "away") == set(), "the link has gone with the network"


def test_a_link_on_the_default_network_is_a_line_of_the_hosts_file(tiffin: Tiffin) -> None:
    server(tiffin, "db")
    server(tiffin, "web", "--link", "db:store", "--link", "db")

    def lines() -> set[str]:
        return {line for line in tiffin.ok("exec", "web", "cat", "/etc/hosts").splitlines() if "db" in line}

    first = address(tiffin, "db", "bridge")
    assert lines() == {f"{first}\tstore db", f"{first}\tdb"}
    assert tiffin.ok("exec", "web", "wget", "-qO-", "http://store/") == "db"
    links = json.loads(tiffin.ok("inspect", "web"))[0]["HostConfig"]["Links"]
    assert sorted(links) == ["/db:/web/db", "/db:/web/store"]
    tiffin.ok("stop", "-t0", "db")
    server(tiffin, "between")
    tiffin.ok("start", "db")
    again = address(tiffin, "db", "bridge")
    assert again != first and lines() == {f"{again}\tstore db", f"{again}\tdb"}
    tiffin.ok("stop", "-t0", "db", "web")
    assert "Cannot link to a non running container: /db AS /web/db" in tiffin.fails("start", "web")
    tiffin.ok("rm", "db")
    tiffin.ok("start", "web")
    assert lines() == set()


def test_bad_links_are_refused_in_dockers_words(tiffin: Tiffin) -> None:
    def refused(*words: str) -> str:
        return tiffin.fails("create", *words, "busybox", "true", code=125)

    assert "could not get container for nobody: No such container: nobody" in refused("--link", "nobody")
    assert "bad format for links: a:b:c" in refused("--link", "a:b:c")
    assert "bad format for links: a:b c" in refused("--link", "a:b c")
    assert "host type networking can't be used with links" in refused("--network", "host", "--link", "a")
    tiffin.ok("create", "--name", "one", "busybox", "true")
    shared = refused("--network", "container:one", "--link", "one")
    assert "container type network can't be used with links" in shared


def test_a_container_is_connected_once_its_names_are_answered(tiffin: Tiffin) -> None:
    """Also when the resolver has something else to do: it is made to stand still here."""
    server(tiffin, "one")
    tiffin.ok("network", "create", "front")
    server(tiffin, "two", "--network", "front")
    (resolver,) = resolvers(tiffin)
    os.kill(resolver, signal.SIGSTOP)
    with tiffin.start("network", "connect", "front", "one") as connecting:
        await_true(lambda: connecting.poll() is not None or waits(connecting.pid))
        early = connecting.poll()
        os.kill(resolver, signal.SIGCONT)
        assert connecting.wait(60) == 0
    assert early is None
    assert ask(tiffin, "one", "two") == {address(tiffin, "two", "front")}


def test_a_container_starts_once_its_names_are_answered(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    server(tiffin, "one", "--network", "front")
    (resolver,) = resolvers(tiffin)
    os.kill(resolver, signal.SIGSTOP)
    running = tiffin.start("run", "--rm", "--network", "front", "busybox", "nslookup", "one")
    with running:
        await_true(lambda: "\nrunning" in f"\n{tiffin.ok('ps', '--format', '{{.State}}', '-n1')}")
        os.kill(resolver, signal.SIGKILL)
        told, complaint = running.communicate(timeout=60)
    assert address(tiffin, "one", "front") in told, complaint


def test_a_killed_resolver_is_replaced_by_the_next_command(tiffin: Tiffin) -> None:
    tiffin.ok("network", "create", "front")
    server(tiffin, "one", "--network", "front")
    server(tiffin, "two", "--network", "front")
    (first,) = resolvers(tiffin)
    os.kill(first, signal.SIGKILL)
    await_true(lambda: not resolvers(tiffin))
    tiffin.ok("ps")
    assert ask(tiffin, "one", "two") == {address(tiffin, "two", "front")}
    assert len(resolvers(tiffin)) == 1
    tiffin.ok("rm", "-f", "one", "two")
    await_true(lambda: not resolvers(tiffin))


def test_flushed_rules_come_back_by_themselves(tiffin: Tiffin) -> None:
    """T50."""
    tiffin.ok("network", "create", "front")
    tiffin.ok("run", "-d", "--name", "one", "--network", "front", "busybox", *SERVE)
    await_true(lambda: bool(ask(tiffin, "one", "one")))
    subprocess.run(["nft", "delete", "table", "ip", table(tiffin)], check=True)
    listing = ["nft", "list", "table", "ip", table(tiffin)]
    await_true(lambda: subprocess.run(listing, capture_output=True).returncode == 0, seconds=5)


def test_an_internal_network_asks_nobody_else(tiffin: Tiffin) -> None:
    """T50: names that a container makes up would else carry its words to whoever answers for them."""
    tiffin.ok("network", "create", "--internal", "vault")
    server(tiffin, "one", "--network", "vault", "--dns", "127.0.0.1")
    told = tiffin("exec", "one", "timeout", "5", "nslookup", "secret.example.com")
    assert "SERVFAIL" in told.stdout + told.stderr
    assert ask(tiffin, "one", "one") == {address(tiffin, "one", "vault")}


def test_the_kernel_tracks_no_connection_of_a_container_for_its_names(tiffin: Tiffin) -> None:
    """Were the way to the resolver a matter of NAT, every packet of the container would be looked up."""
    tiffin.ok("network", "create", "lan")
    server(tiffin, "web", "--network", "lan")
    asker = tiffin.ok("run", "-d", "--network", "lan", "busybox", "sleep", "1000")
    assert tiffin.ok("exec", asker, "wget", "-qO-", "http://web/") == "web"
    pid = tiffin.ok("inspect", "-f", "{{.State.Pid}}", asker)

    def inside(*command: str) -> str:
        done = subprocess.run(["nsenter", "-t", pid, "-n", *command], capture_output=True, text=True)
        return done.stdout

    assert inside("cat", "/proc/sys/net/netfilter/nf_conntrack_count") in ("0\n", "")
    rules = inside("nft", "list", "ruleset")
    assert "dport set" in rules and "type nat" not in rules
