"""Ten thousand connections through published ports, none lost."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import MACHINE, MACHINE6, OUTSIDE, OUTSIDE6, Lab, family_of, inside, serve
from tiffin.network import Networks, parse_publish
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.records import Join

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.root

CONNECTIONS, CLIENTS = 10_000, 4


def _forked(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def _answer_all(web: socket.socket, expected: set[bytes]) -> None:
    """Tell each client the number that it said, and whether it came from where it is."""
    web.settimeout(None)
    while True:
        accepted, peer = web.accept()
        with accepted:
            text = accepted.recv(64)
            own = peer[0].removeprefix("::ffff:").encode()
            accepted.sendall(text if own in expected else b"from " + own)


def _ask(place: Lab, target: str, first: int, count: int) -> None:
    with inside(place.outside):
        for number in range(first, first + count):
            with socket.socket(family_of(target), socket.SOCK_STREAM) as client:
                client.settimeout(30)
                client.connect((target, 8080))
                text = b"%d" % number
                client.sendall(text)
                answer = client.recv(64)
                assert answer == text, answer


def test_ten_thousand_connections_reach_a_published_port(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    network = create(networks.store, networks, NetworkRequest("dual", ipv6=True))
    joins = (Join(network.id, "dual"),)
    made = stack.enter_context(closing(networks.attach("web", "dual", parse_publish("8080:80"), joins)))
    web = stack.enter_context(serve(made.netns_fd, "::", 80))
    web.listen(512)
    servers = [_forked(lambda: _answer_all(web, {OUTSIDE.encode(), OUTSIDE6.encode()})) for _ in range(2)]
    try:
        share = CONNECTIONS // CLIENTS
        targets = [MACHINE, MACHINE6] * (CLIENTS // 2)
        clients = [_forked(partial(_ask, place, to, n * share, share)) for n, to in enumerate(targets)]
        assert [os.waitpid(pid, 0)[1] for pid in clients] == [0] * CLIENTS
    finally:
        for pid in servers:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
