"""The engine's own nftables table, `ip tiffin_<engine>`: NAT, published ports, and who may reach a container.

    guard        raw      what nobody may send: loopback addresses from a container or a neighbour, and
                          packets routed straight at a container's address from another interface
    prerouting   nat      packets for an address of this machine: to a container if the port is published
    output       nat      the same for the machine's own connections
    forward      filter   into a bridge only replies and what was published; out of an internal one nothing
    postrouting  nat      containers leave under the machine's address; so do those that meet a container
                          through a published port from the loopback or from the same bridge

Ports are elements of two maps, so that publishing one changes no rule. Every change is one script for `nft`,
which the kernel takes as a whole or not at all; the tables of others are never touched. An empty chain named
after a checksum of the rules says which rules are in place: one netlink message tells, and no process is
started, when nothing has to change.
"""

from __future__ import annotations

import os
from zlib import crc32

from tiffin.errors import EngineError, Unsupported
from tiffin.kernel import netlink
from tiffin.network.records import ANY_ADDRESS
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.network.records import Network, Published

_TOOL_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"

_TABLE = """\
table ip {table} {{
  map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  set loopback {{ type ipv4_addr . inet_proto . inet_service; }}
  chain publish {{
    meta l4proto {{ tcp, udp }} dnat ip to ip daddr . meta l4proto . th dport map @published_at
    meta l4proto {{ tcp, udp }} dnat ip to meta l4proto . th dport map @published
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 ip daddr . meta l4proto . th dport @loopback drop
{guard}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
{forward}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{postrouting}
  }}
}}
"""
_GUARD = """\
    iifname "{bridge}" ip saddr 127.0.0.0/8 drop
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
    iifname != {{ "{bridge}", "lo" }} ip daddr {subnet} drop"""
_FORWARD = """\
    iifname != "{bridge}" oifname "{bridge}" ct state established,related accept
    iifname != "{bridge}" oifname "{bridge}" ct status dnat accept
    iifname != "{bridge}" oifname "{bridge}" drop"""
_POSTROUTING = """\
    oifname != "{bridge}" ip saddr {subnet} masquerade
    oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
    oifname "{bridge}" ip saddr {subnet} ct status dnat masquerade"""

_CLOSED = """\
    iifname "{bridge}" oifname != "{bridge}" drop
    iifname != "{bridge}" oifname "{bridge}" drop"""
_LOCAL = """\
    oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
    oifname "{bridge}" ip saddr {subnet} ct status dnat masquerade"""


class Firewall:
    """The table of one engine. Not itself locked: the caller keeps `replace` apart from the others."""

    def __init__(self, engine: str) -> None:
        self.table = f"tiffin_{engine}"

    def rules(self, networks: Sequence[Network]) -> str:
        """The table's text for these networks, without ports."""
        parts = [
            "\n".join(
                text.format(bridge=network.bridge, subnet=network.subnet)
                for network in networks
                for text in _chosen(chain, network)
            )
            for chain in (_GUARD, _FORWARD, _POSTROUTING)
        ]
        return _TABLE.format(table=self.table, guard=parts[0], forward=parts[1], postrouting=parts[2])

    def in_place(self, networks: Sequence[Network]) -> bool:
        """Whether the kernel has exactly the rules of these networks."""
        return netlink.nft_chain_exists(self.table, _version(self.rules(networks)))

    def exists(self) -> bool:
        """Whether the table is there, of whichever version."""
        return netlink.nft_chain_exists(self.table, "publish")

    def replace(self, networks: Sequence[Network], published: Iterable[Published]) -> None:
        """Put the table in place, whatever was there, atomically."""
        rules = self.rules(networks)
        run_nft(
            f"table ip {self.table} {{}}\ndelete table ip {self.table}\n{rules}"
            f"add chain ip {self.table} {_version(rules)}\n" + self.elements("add", published)
        )

    def change(self, remove: Iterable[Published], add: Iterable[Published]) -> None:
        """Take ports out and put ports in, atomically. Idempotent: a port taken out may be absent, one put in
        present, as long as it leads to the same container port."""
        remove = list(remove)
        script = self.elements("add", remove) + self.elements("delete", remove) + self.elements("add", add)
        if script:
            run_nft(script)

    def delete(self) -> None:
        """Remove the table. Idempotent."""
        if self.exists():
            run_nft(f"table ip {self.table} {{}}\ndelete table ip {self.table}\n")

    def elements(self, verb: str, published: Iterable[Published]) -> str:
        """The lines that add or delete the elements of these ports."""
        lines: list[str] = []
        for port in published:
            key = f"{port.protocol} . {port.host_port}"
            target = f" : {port.container_ip} . {port.container_port}" if verb == "add" else ""
            if port.host_ip == ANY_ADDRESS:
                lines.append(f"{verb} element ip {self.table} published {{ {key}{target} }}\n")
                continue
            key = f"{port.host_ip} . {key}"
            lines.append(f"{verb} element ip {self.table} published_at {{ {key}{target} }}\n")
            if port.host_ip.startswith("127."):
                lines.append(f"{verb} element ip {self.table} loopback {{ {key} }}\n")
        return "".join(lines)


def run_nft(script: str) -> None:
    """Have nft carry out a script, as one transaction. Raises Unsupported without nft, EngineError with its
    first line of complaint. Waits for its own child only."""
    tool = _find_nft()
    source = _memory_file(script.encode())
    try:
        complaint = _memory_file(b"")
        try:
            moves = [
                (os.POSIX_SPAWN_DUP2, source, 0),
                (os.POSIX_SPAWN_DUP2, complaint, 1),
                (os.POSIX_SPAWN_DUP2, complaint, 2),
            ]
            environment = {"PATH": _TOOL_PATH, "LC_ALL": "C"}
            pid = os.posix_spawn(tool, [tool, "-f", "-"], environment, file_actions=moves, setsigmask=())
            _, status = os.waitpid(pid, 0)
            if status:
                lines = os.pread(complaint, 4096, 0).decode(errors="replace").splitlines() or [""]
                code = os.waitstatus_to_exitcode(status)
                raise EngineError(f"the firewall refused a change: nft exited with {code}: {lines[0]}")
        finally:
            os.close(complaint)
    finally:
        os.close(source)


def _chosen(chain: str, network: Network) -> tuple[str, ...]:
    """The rules that a network has in the place of a chain's usual ones."""
    if network.options == "{}":
        return (chain,)
    settings = network.settings
    if settings.internal:
        return {_FORWARD: (_CLOSED,), _POSTROUTING: ()}.get(chain, (chain,))
    if chain is _POSTROUTING and not settings.masquerade:
        return (_LOCAL,)
    return (chain,)


def _version(rules: str) -> str:
    return f"rules_{crc32(rules.encode()):08x}"


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("nft", os.MFD_CLOEXEC)
    os.pwrite(fd, content, 0)
    return fd


def _find_nft() -> str:
    for directory in _TOOL_PATH.split(":"):
        path = f"{directory}/nft"
        if os.access(path, os.X_OK):
            return path
    raise Unsupported("nft not found: apt-get install nftables, or use --network host or none")
