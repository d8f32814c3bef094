"""Many containers at once, each attached by a process of its own, as supervisors do it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.network.lab import Lab
from tiffin.network import Networks, parse_publish
from tiffin.network.firewall import Firewall
from tiffin.state import Store, open_store

if TYPE_CHECKING:
    from tiffin.state import Layout

pytestmark = pytest.mark.root

MANY = 20


def _work(layout: Layout, number: int, answer: int, leave: int) -> None:
    """One supervisor: attach, say where, wait until told to leave, detach."""
    store = open_store(layout)
    networks = Networks(store)
    before = os.readlink("/proc/thread-self/ns/net")
    made = networks.attach(f"c{number}", "bridge", parse_publish("80") + parse_publish("81/udp"))
    assert os.readlink("/proc/thread-self/ns/net") == before
    os.write(answer, json.dumps([made.address, [port.host_port for port in made.ports]]).encode() + b"\n")
    os.read(leave, 1)
    networks.detach(f"c{number}")
    made.close()
    store.close()


def _spawn(layout: Layout, number: int, answer: int, leave: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(leave[1])
        _work(layout, number, answer, leave[0])
        code = 0
    finally:
        os._exit(code)


def test_twenty_at_once_do_not_disturb_each_other(place: Lab, store: Store) -> None:
    answers, answer = os.pipe()
    leave = os.pipe()
    pids = [_spawn(store.layout, number, answer, leave) for number in range(MANY)]
    os.close(answer)
    os.close(leave[0])
    got: list[Any] = []
    with open(answers) as lines:
        got = [json.loads(line) for _, line in zip(range(MANY), lines, strict=False)]
        assert len({address for address, _ in got}) == MANY
        assert len({port for _, (port, _) in got}) == MANY
        (network,) = Networks(store).known()
        assert Firewall(store.layout.engine).in_place([network])
        os.close(leave[1])
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * MANY
    for table in ("endpoints", "published_ports"):
        assert store.db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
