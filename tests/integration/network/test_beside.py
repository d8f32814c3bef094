"""Beside the firewalls of others: a policy that drops what is forwarded does not cut containers off, and nothing of the
others' is changed but that. On a machine of namespaces (see lab)."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import MACHINE, OUTSIDE, Lab, reaches, refused, serve
from tiffin.network import Attachment, Networks, parse_publish
from tiffin.network.beside import missing
from tiffin.network.definitions import NetworkRequest, create, remove
from tiffin.network.records import Join
from tiffin.network.tool import run_nft

if TYPE_CHECKING:
    from tiffin.state import Store

pytestmark = pytest.mark.root

DROPPING = """
table ip filter {
  chain DOCKER-USER { }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    jump DOCKER-USER
    iifname "tn-theirs" ip daddr 192.0.2.77 drop
  }
}
"""


def rules() -> str:
    return subprocess.run(
        ["nft", "-s", "list", "table", "ip", "filter"], check=True, capture_output=True, text=True
    ).stdout


def attach(networks: Networks, stack: ExitStack, *publish: str, name: str = "web") -> Attachment:
    made = networks.attach(name, "bridge", [port for text in publish for port in parse_publish(text)])
    stack.callback(made.close)
    stack.callback(networks.detach, name)
    return made


def test_a_policy_that_drops_cuts_no_container_off(place: Lab, networks: Networks, stack: ExitStack) -> None:
    run_nft(DROPPING)
    made = attach(networks, stack, "8080:80")
    web = stack.enter_context(serve(made.netns_fd, "0.0.0.0", 80))
    outside = stack.enter_context(serve(place.outside, OUTSIDE, 81))
    assert reaches(made.netns_fd, (OUTSIDE, 81), outside) == MACHINE
    assert reaches(place.outside, (MACHINE, 8080), web) == OUTSIDE
    assert refused(place.outside, (made.address, 80)), "what our own table refuses stays refused"
    bridge = networks.known()[0].bridge
    assert rules().count(f'"{bridge}" counter accept comment') == 2
    before = rules()
    assert not networks.mend()
    assert rules() == before, "what is there is not added again"


def test_the_rules_come_back_after_a_reload_and_go_with_the_networks(
    place: Lab, networks: Networks, store: Store, stack: ExitStack
) -> None:
    run_nft(DROPPING)
    before = rules()
    network = create(store, networks, NetworkRequest("front"))
    closed = create(store, networks, NetworkRequest("vault", internal=True))
    made = networks.attach("web", "front", (), (Join(network.id, "front"), Join(closed.id, "vault")))
    stack.callback(made.close)
    outside = stack.enter_context(serve(place.outside, OUTSIDE, 81))
    reaches(made.netns_fd, (OUTSIDE, 81), outside)
    assert closed.bridge not in rules(), "an internal network needs none"
    run_nft(f"delete table ip filter\n{DROPPING}")
    assert refused(made.netns_fd, (OUTSIDE, 81))
    assert networks.mend()
    reaches(made.netns_fd, (OUTSIDE, 81), outside)
    networks.detach("web")
    remove(store, networks, network)
    remove(store, networks, closed)
    assert rules() == before


def test_what_others_refuse_stays_refused(place: Lab, networks: Networks, stack: ExitStack) -> None:
    run_nft(DROPPING)
    made = attach(networks, stack)
    outside = stack.enter_context(serve(place.outside, OUTSIDE, 81))
    reaches(made.netns_fd, (OUTSIDE, 81), outside)
    run_nft(f'add rule ip filter DOCKER-USER iifname "{networks.known()[0].bridge}" tcp dport 81 drop\n')
    assert refused(made.netns_fd, (OUTSIDE, 81))


def test_a_policy_that_accepts_is_left_alone(place: Lab, networks: Networks, stack: ExitStack) -> None:
    run_nft(DROPPING.replace("policy drop", "policy accept"))
    before = rules()
    made = attach(networks, stack)
    assert rules() == before
    run_nft("chain ip filter FORWARD { policy drop; }\n")
    networks.mend()
    outside = stack.enter_context(serve(place.outside, OUTSIDE, 81))
    reaches(made.netns_fd, (OUTSIDE, 81), outside)
    networks.detach("web")
    networks.teardown()
    assert rules() == before.replace("policy accept", "policy drop")


@pytest.mark.skipif(not shutil.which("iptables-nft"), reason="iptables-nft is not installed")
def test_iptables_reads_the_rules(place: Lab, networks: Networks, stack: ExitStack) -> None:
    subprocess.run(["iptables-nft", "-P", "FORWARD", "DROP"], check=True)
    attach(networks, stack)
    bridge, owner = networks.known()[0].bridge, networks.firewall.table
    told = subprocess.run(
        ["iptables-nft", "-S", "FORWARD"], check=True, capture_output=True, text=True
    ).stdout
    assert f'-A FORWARD -i {bridge} -m comment --comment "{owner} from {bridge}" -j ACCEPT' in told
    # Saved and restored by iptables' own tools, they are in its words and still known as ours.
    saved = subprocess.run(["iptables-nft-save"], check=True, capture_output=True, text=True).stdout
    subprocess.run(["iptables-nft-restore"], check=True, input=saved, text=True)
    assert not missing(owner, {"ip": [bridge], "ip6": []})
    networks.detach("web")
    networks.teardown()
    told = subprocess.run(
        ["iptables-nft", "-S", "FORWARD"], check=True, capture_output=True, text=True
    ).stdout
    assert told == "-P FORWARD DROP\n"


def test_other_chains_that_drop_are_named_once(place: Lab, networks: Networks, stack: ExitStack) -> None:
    run_nft("table inet own { chain mine { type filter hook forward priority 5; policy drop;\n}\n}\n")
    (notice,) = [line for line in attach(networks, stack).notices if "drops" in line]
    assert "inet own mine" in notice
    networks.firewall.delete()
    assert not [line for line in attach(networks, stack, name="two").notices if "drops" in line]


@pytest.mark.skipif(not shutil.which("iptables-legacy"), reason="iptables-legacy is not installed")
def test_iptables_legacy_is_spoken_of(place: Lab, networks: Networks, stack: ExitStack) -> None:
    subprocess.run(["iptables-legacy", "-P", "FORWARD", "DROP"], check=True)
    assert any("iptables-legacy drops" in line for line in attach(networks, stack).notices)


@pytest.mark.parametrize(
    "table", ["ip filter { chain ufw-before-input", "inet firewalld { chain filter_INPUT"]
)
def test_a_port_open_past_the_users_firewall_is_said_once(
    place: Lab, networks: Networks, stack: ExitStack, table: str
) -> None:
    run_nft(f"table {table} {{ }}\n}}\n")
    name = "ufw" if "ufw" in table else "firewalld"
    assert not [line for line in attach(networks, stack, "127.0.0.1:8081:80").notices if "past" in line]
    (notice,) = [line for line in attach(networks, stack, "8080:80", name="two").notices if "past" in line]
    assert f"past {name}" in notice and "-p 127.0.0.1:8080:80" in notice
    assert not [line for line in attach(networks, stack, "8082:80", name="three").notices if "past" in line]
