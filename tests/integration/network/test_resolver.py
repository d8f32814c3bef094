"""The resolver against a name server that behaves well and badly: what it asks there, what it never asks, and that
nobody keeps others from their answers. On a machine of namespaces (see lab)."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import OUTSIDE, Lab, inside
from tests.integration.network.nameserver import BIG, NXDOMAIN, NameServer, ask, client, query, read
from tiffin.containers.record import ContainerRecord
from tiffin.containers.store import Containers
from tiffin.kernel import netlink
from tiffin.network import Attachment, Networks
from tiffin.network import dnswire as wire
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.records import Join
from tiffin.network.resolving import adopt, await_served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.state import Store

pytestmark = pytest.mark.root

SECOND = "192.0.2.53"  # the neighbour's other address


class Scene:
    """Networks front and vault, the latter internal, and two name servers at the neighbour."""

    def __init__(self, place: Lab, store: Store, networks: Networks, stack: ExitStack) -> None:
        self.store, self.networks, self.stack = store, networks, stack
        with inside(place.outside), netlink.Socket() as far:
            eth0 = far.link("eth0")
            assert eth0 is not None
            far.run(netlink.add_address(eth0.ifindex, SECOND, 32))
        self.first = stack.enter_context(NameServer(place.outside, OUTSIDE))
        self.second = stack.enter_context(NameServer(place.outside, SECOND))
        self.made = {
            name: create(store, networks, NetworkRequest(name, internal=name == "vault"))
            for name in ("front", "vault")
        }

    def container(
        self, name: str, *where: str, dns: tuple[str, ...] = (OUTSIDE, SECOND), alias: str = ""
    ) -> Attachment:
        """One that runs, as far as names are concerned."""
        record = ContainerRecord(
            id=os.urandom(32).hex(), name=name, image="i", image_name="i", created=1, argv=("x",), dns=dns
        )
        Containers(self.store).insert(record)
        joins = [Join(self.made[one].id, one, aliases=(alias,) if alias else ()) for one in where]
        made = self.networks.attach(record.id, where[0], (), joins)
        await_served(self.store.layout, made.reserved[-1])
        self.stack.callback(made.close)
        self.stack.callback(self.networks.detach, record.id)
        return made

    def resolvers(self) -> list[int]:
        return resolvers(self.store)


def resolvers(store: Store) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"tiffin.network.resolver" in words and f"'{store.layout.run}'".encode() in words:
            found.append(int(entry.name))
    return found


@pytest.fixture
def scene(place: Lab, store: Store, networks: Networks) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(place, store, networks, stack)
    end = time.monotonic() + 30
    while resolvers(store):
        assert time.monotonic() < end, "it goes when it serves nobody"
        time.sleep(0.02)


def test_others_are_asked_in_order_and_the_first_that_can_tell_counts(scene: Scene) -> None:
    one = scene.container("one", "front")
    assert ask(one.netns_fd, "a.ok.test").addresses == ["192.0.2.99"]
    assert (scene.first.names(), scene.second.names()) == (["a.ok.test"], [])
    assert ask(one.netns_fd, "no.such.test").code == NXDOMAIN, "that is an answer"
    assert scene.second.names() == []
    for name, code in (("x.fails.test", wire.SERVER_FAILURE), ("x.refused.test", wire.REFUSED)):
        assert ask(one.netns_fd, name).code == code
    assert scene.second.names() == ["x.fails.test", "x.refused.test"], (
        "who has failed is not the last to be asked"
    )
    turned = scene.container("two", "front", dns=("192.0.2.54", SECOND))
    assert ask(turned.netns_fd, "b.ok.test").addresses == ["192.0.2.99"], "nobody is at the first"


@pytest.mark.parametrize("name", ["silent.test", "forged.test"])
def test_a_server_that_never_answers_the_question_is_passed_over_in_time(scene: Scene, name: str) -> None:
    one = scene.container("one", "front")
    began = time.monotonic()
    assert ask(one.netns_fd, name).code == wire.SERVER_FAILURE
    assert scene.second.names() == [name]
    assert time.monotonic() - began >= 2, "each had its time"


def test_a_long_answer_is_cut_and_whole_over_tcp(scene: Scene) -> None:
    one = scene.container("one", "front")
    short = ask(one.netns_fd, "big.test")
    assert short.cut and len(short.addresses) < BIG
    whole = ask(one.netns_fd, "big.test", tcp=True)
    assert not whole.cut and len(whole.addresses) == BIG
    assert scene.first.asked == [("big.test", "udp"), ("big.test", "tcp")]
    many = [scene.container(f"r{n}", "front", alias="pool") for n in range(40)]
    short, whole = (ask(one.netns_fd, "pool", tcp=tcp) for tcp in (False, True))
    assert short.cut and not whole.cut
    assert sorted(whole.addresses) == sorted(made.address for made in many)
    assert scene.first.names() == ["big.test"] * 2, "nobody else is asked for what is ours"


def test_replicas_take_turns(scene: Scene) -> None:
    one = scene.container("one", "front")
    pool = {scene.container(f"r{n}", "front", alias="pool").address for n in range(3)}
    firsts = [ask(one.netns_fd, "POOL").addresses[0] for _ in range(6)]
    assert set(firsts) == set(firsts[:3]) == pool


def test_addresses_have_names_here_and_elsewhere(scene: Scene) -> None:
    one, two = scene.container("one", "front"), scene.container("two", "front")
    reverse = ".".join(reversed(two.address.split("."))) + ".in-addr.arpa"
    assert ask(one.netns_fd, reverse, wire.PTR).addresses == ["two.front"]
    assert scene.first.names() == []
    assert ask(one.netns_fd, "9.9.9.9.in-addr.arpa", wire.PTR).code == NXDOMAIN
    assert scene.first.names() == ["9.9.9.9.in-addr.arpa"]


def test_nothing_that_an_internal_network_asks_leaves_it(scene: Scene) -> None:
    """T50: no server sees the question, whichever way it is put, also after the container has left other networks."""
    vault = scene.container("one", "vault")
    both = scene.container("two", "front", "vault")
    assert ask(both.netns_fd, "a.ok.test").addresses == ["192.0.2.99"]
    member = next(one.container for one in scene.networks.members(scene.made["front"].id))
    with client(both.netns_fd, socket.SOCK_STREAM) as kept:
        scene.networks.leave(member, both.netns_fd, scene.made["front"].id)
        seen = scene.first.names()
        for source in (vault, both):
            for tcp in (False, True):
                assert ask(source.netns_fd, "secret.ok.test", tcp=tcp).code == wire.SERVER_FAILURE
            assert ask(source.netns_fd, "4.3.2.1.in-addr.arpa", wire.PTR).code == wire.SERVER_FAILURE
            assert ask(source.netns_fd, "secret.ok.test", 16).code == wire.SERVER_FAILURE, "TXT"
        data = query("kept.ok.test")
        kept.sendall(struct.pack("!H", len(data)) + data)
        with kept.makefile("rb") as stream:
            (length,) = struct.unpack("!H", stream.read(2))
            assert read(data, stream.read(length)).code == wire.SERVER_FAILURE
    assert ask(vault.netns_fd, "two").addresses, "names of its own it is told"
    assert (scene.first.names(), scene.second.names()) == (seen, [])


def test_who_asks_much_keeps_nobody_from_his_answers(scene: Scene) -> None:
    loud, quiet = scene.container("loud", "front"), scene.container("quiet", "front")
    with ExitStack() as stack:
        for number in range(300):
            asking = stack.enter_context(client(loud.netns_fd))
            asking.send(query("silent.test", identity=number))
        for _ in range(40):
            stack.enter_context(client(loud.netns_fd, socket.SOCK_STREAM))  # and say nothing
        assert ask(loud.netns_fd, "quiet").addresses == [quiet.address], "names of ours need no turn"
        assert ask(quiet.netns_fd, "a.ok.test").addresses == ["192.0.2.99"]
        assert ask(quiet.netns_fd, "b.ok.test", tcp=True).addresses == ["192.0.2.99"]
    assert scene.first.names().count("silent.test") < 300, "what is too much is dropped"


def test_what_is_no_question_is_refused_or_passed_over(scene: Scene) -> None:
    one = scene.container("one", "front")
    with client(one.netns_fd) as asking:
        for data in (b"", b"\0", b"\xff" * 11, b"\xff" * 600, query("one")[:2] + b"\x80" + query("one")[3:]):
            asking.send(data)
        for number, data in enumerate((query("one")[:20], b"\0\1\0\0" + b"\0\5" * 4, bytes(12))):
            asking.send(data)
            assert asking.recv(512)[3] & 15 == wire.FORMAT_ERROR, number
        asking.send(query("one"))
        assert read(query("one"), asking.recv(512)).addresses == [one.address]
    with client(one.netns_fd, socket.SOCK_STREAM) as asking:
        asking.sendall(b"\0\0")
        assert asking.recv(512) == b""
    assert scene.first.names() == []


def test_one_process_serves_all_and_another_takes_over(scene: Scene) -> None:
    containers = [scene.container(f"c{n}", "front") for n in range(4)]
    (first,) = scene.resolvers()
    mine = os.stat("/proc/thread-self/ns/net").st_ino
    me = os.getpid()
    for made, endpoint in zip(containers, scene.networks.members(scene.made["front"].id), strict=True):
        assert made.netns_fd and endpoint.address
    os.kill(first, signal.SIGKILL)
    while first in scene.resolvers():
        time.sleep(0.01)
    adopt(scene.store.layout)
    (second,) = scene.resolvers()
    assert second != first and os.stat(f"/proc/{second}/ns/net").st_ino == mine and second != me
    late = scene.container("late", "front")
    assert ask(late.netns_fd, "c0").addresses == [containers[0].address]
