"""The engine's own nftables table, `ip tiffin_<engine>`: NAT, published ports, and who may reach a container; and
`ip6 tiffin_<engine>`, the same in IPv6, while a network has that.

    guard        raw      what nobody may send: loopback addresses from a container or a neighbour, and
                          packets routed straight at a container's address from another interface
    prerouting   nat      packets for an address of this machine: to a container if the port is published
    output       nat      the same for the machine's own connections
    forward      filter   into a bridge only replies and what was published; out of an internal one nothing
    postrouting  nat      containers leave under the machine's address; so do those that meet a container
                          through a published port from the loopback or from the same bridge

Ports are elements of two maps, so that publishing one changes no rule; networks are elements of maps that lead to
chains of theirs, so that a packet's way is as long with two hundred as with one. Every change is one script for `nft`,
which the kernel takes as a whole or not at all; the tables of others are never touched. An empty chain named
after a checksum of the rules says which rules are in place: one netlink message tells, and no process is
started, when nothing has to change.
"""

from __future__ import annotations

from zlib import crc32

from tiffin.kernel import netlink
from tiffin.kernel import sockets as socket
from tiffin.network import beside
from tiffin.network.bridge import reaches_loopback6
from tiffin.network.records import ANY_ADDRESS, ANY_ADDRESS6
from tiffin.network.tool import run_nft
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tiffin.network.records import Network, Published

_TABLE = """\
table {family} {table} {{
  map published {{ type inet_proto . inet_service : {address} . inet_service; }}
  map published_at {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
  set loopback {{ type {address} . inet_proto . inet_service; }}
  chain publish {{
    meta l4proto {{ tcp, udp, sctp }} dnat {family} to {family} daddr . meta l4proto . th dport map @published_at
    meta l4proto {{ tcp, udp, sctp }} dnat {family} to meta l4proto . th dport map @published
  }}
{chains}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
{guard}
    {family} daddr {loopback} iifname != "lo" {family} daddr . meta l4proto . th dport @loopback drop
{homes}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {family} daddr != {loopback} fib daddr type local jump publish
  }}
{output}
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
_OUTPUT = """\
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}"""
# Where an answer would never arrive (see bridge.reaches_loopback6) a client is told so at once, and tries 127.0.0.1.
_OUTPUT_CUT = """\
  chain refuse {{
    type filter hook output priority -150; policy accept;
    {family} daddr {loopback} {family} daddr . meta l4proto . th dport @loopback meta l4proto tcp reject with tcp reset
    {family} daddr {loopback} {family} daddr . meta l4proto . th dport @loopback reject
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    {family} daddr != {loopback} fib daddr type local jump publish
  }}"""
# What a network has of its own: chains that verdict maps lead to, by its subnet or its bridge. A rule after the other
# for each network, a packet's way was 0.5 µs longer with every one. What stays on a bridge, which the kernel shows the
# firewall on many machines, has the shortest way: it is let go by the first rule that tells.
_SENT = """\
  chain sent_{id} {{
    {family} saddr {loopback} drop
    {family} daddr {loopback} drop
    {family} daddr {subnet} accept
  }}"""
_INTO = """\
  chain into_{id} {{
    iifname "{bridge}" accept
    ct state established,related accept
    ct status dnat accept
    drop
  }}"""
_INTO_CLOSED = """\
  chain into_{id} {{
    iifname != "{bridge}" drop
  }}"""
_FROM_CLOSED = """\
  chain from_{id} {{
    oifname != "{bridge}" drop
  }}"""
_LEAVE = """\
  chain leave_{id} {{
    oifname != "{bridge}" masquerade
    ct status dnat masquerade
  }}"""
_LEAVE_AS_IS = """\
  chain leave_{id} {{
    oifname "{bridge}" ct status dnat masquerade
  }}"""


class Family(NamedTuple):
    """What the rules of IPv4 and of IPv6 differ in."""

    name: str
    number: int
    address: str
    loopback: str


_ID = 12  # digits of a network's ID in the names of its chains
_IPV4 = Family("ip", socket.AF_INET, "ipv4_addr", "127.0.0.0/8")
_IPV6 = Family("ip6", socket.AF_INET6, "ipv6_addr", "::1")


class Firewall:
    """The table of one engine. Not itself locked: the caller keeps `replace` apart from the others."""

    def __init__(self, engine: str) -> None:
        self.table = f"tiffin_{engine}"

    def rules(self, networks: Sequence[Network]) -> str:
        """The tables' text for these networks, without ports; that of IPv6 for as long as a network has it."""
        networks = _bridged(networks)
        text = self._rules(_IPV4, networks)
        return text + self._rules(_IPV6, networks) if any(one.subnet6 for one in networks) else text

    def _rules(self, family: Family, networks: Sequence[Network]) -> str:
        its = [(one, one.subnet if family is _IPV4 else one.subnet6) for one in networks]
        its = [(one, subnet) for one, subnet in its if subnet]
        words = family._asdict() | {"family": family.name}
        output = _OUTPUT if family is _IPV4 or reaches_loopback6() else _OUTPUT_CUT
        return _TABLE.format(
            table=self.table,
            chains="\n".join(
                text.format(id=network.id[:_ID], bridge=network.bridge, subnet=subnet, **words)
                for network, subnet in its
                for text in _chains(network)
            ),
            guard=_lead("iifname", "sent", ((_quoted(network), network) for network, _ in its))
            if its
            else "",
            homes=_homes(family, its),
            forward="\n".join(_forward(its)),
            postrouting="\n".join(_postrouting(family, its)),
            output=output.format(**words),
            **words,
        )

    def in_place(self, networks: Sequence[Network]) -> bool:
        """Whether the kernel has exactly the rules of these networks, also those in tables of others."""
        networks = _bridged(networks)
        version = _version(self.rules(networks))
        if not netlink.nft_chain_exists(self.table, version):
            return False
        if any(one.subnet6 for one in networks) and not netlink.nft_chain_exists(
            self.table, version, socket.AF_INET6
        ):
            return False
        return not beside.missing(self.table, _open_bridges(networks))

    def exists(self) -> bool:
        """Whether the table is there, of whichever version."""
        return netlink.nft_chain_exists(self.table, "publish")

    def replace(self, networks: Sequence[Network], published: Iterable[Published]) -> None:
        """Put the tables in place, whatever was there, atomically."""
        networks = _bridged(networks)
        rules = self.rules(networks)
        six = any(one.subnet6 for one in networks)
        marks = f"add chain ip {self.table} {_version(rules)}\n"
        if six:
            marks += f"add chain ip6 {self.table} {_version(rules)}\n"
        run_nft(self._removal() + rules + marks + self.elements("add", published))
        beside.allow(self.table, _open_bridges(networks))

    def change(self, remove: Iterable[Published], add: Iterable[Published]) -> None:
        """Take ports out and put ports in, atomically. Idempotent: a port taken out may be absent, one put in
        present, as long as it leads to the same container port."""
        remove = list(remove)
        if any(":" in port.host_ip for port in remove) and not self._exists6():
            remove = [port for port in remove if ":" not in port.host_ip]  # somebody took the table away
        script = self.elements("add", remove) + self.elements("delete", remove) + self.elements("add", add)
        if script:
            run_nft(script)

    def delete(self) -> None:
        """Remove the tables, and what is ours in those of others. Idempotent."""
        beside.withdraw(self.table)
        if self.exists() or self._exists6():
            run_nft(self._removal())

    def _exists6(self) -> bool:
        return netlink.nft_chain_exists(self.table, "publish", socket.AF_INET6)

    def _removal(self) -> str:
        script = f"table ip {self.table} {{}}\ndelete table ip {self.table}\n"
        if self._exists6():
            script += f"table ip6 {self.table} {{}}\ndelete table ip6 {self.table}\n"
        return script

    def elements(self, verb: str, published: Iterable[Published]) -> str:
        """The lines that add or delete the elements of these ports."""
        lines: list[str] = []
        for port in published:
            table = f"{'ip6' if ':' in port.host_ip else 'ip'} {self.table}"
            key = f"{port.protocol} . {port.host_port}"
            target = f" : {port.container_ip} . {port.container_port}" if verb == "add" else ""
            if port.host_ip in (ANY_ADDRESS, ANY_ADDRESS6):
                lines.append(f"{verb} element {table} published {{ {key}{target} }}\n")
            else:
                lines.append(f"{verb} element {table} published_at {{ {port.host_ip} . {key}{target} }}\n")
            if port.host_ip.startswith("127."):
                lines.append(f"{verb} element {table} loopback {{ {port.host_ip} . {key} }}\n")
            elif port.host_ip in ("::1", ANY_ADDRESS6):
                lines.append(f"{verb} element {table} loopback {{ ::1 . {key} }}\n")
        return "".join(lines)


def _chains(network: Network) -> tuple[str, ...]:
    """The chains that a network has."""
    if network.options == "{}":
        return _SENT, _INTO, _LEAVE
    settings = network.settings
    if settings.internal:
        return _SENT, _INTO_CLOSED, _FROM_CLOSED
    return _SENT, _INTO, _LEAVE if settings.masquerade else _LEAVE_AS_IS


def _homes(family: Family, its: Sequence[tuple[Network, str]]) -> str:
    """What is for a network and does not come from it."""
    subnets = ", ".join(subnet for _, subnet in its)
    return f'    {family.name} daddr {{ {subnets} }} iifname != "lo" drop' if subnets else ""


def _forward(its: Sequence[tuple[Network, str]]) -> Iterator[str]:
    closed = [(_quoted(network), network) for network, _ in its if _FROM_CLOSED in _chains(network)]
    if closed:
        yield _lead("iifname", "from", closed)
    if its:
        yield _lead("oifname", "into", ((_quoted(network), network) for network, _ in its))


def _postrouting(family: Family, its: Sequence[tuple[Network, str]]) -> Iterator[str]:
    ways_out = [(subnet, network) for network, subnet in its if _FROM_CLOSED not in _chains(network)]
    if not ways_out:
        return
    bridges = _names(network for _, network in ways_out)
    yield f"    {family.name} saddr {family.loopback} oifname {bridges} masquerade"
    yield _lead(f"{family.name} saddr", "leave", ways_out)


def _lead(by: str, chain: str, ways: Iterable[tuple[str, Network]]) -> str:
    elements = ", ".join(f"{key} : jump {chain}_{network.id[:_ID]}" for key, network in ways)
    return f"    {by} vmap {{ {elements} }}"


def _names(networks: Iterable[Network]) -> str:
    return f"{{ {', '.join(map(_quoted, networks))} }}"


def _quoted(network: Network) -> str:
    return f'"{network.bridge}"'


def _bridged(networks: Sequence[Network]) -> list[Network]:
    """Those whose packets this machine sees."""
    return [network for network in networks if network.driver == "bridge"]


def _open_bridges(networks: Sequence[Network]) -> dict[str, list[str]]:
    """The bridges whose containers reach the world, by the family of addresses with which they do."""
    open_ones = [one for one in networks if one.options == "{}" or not one.settings.internal]
    return {
        "ip": [one.bridge for one in open_ones if one.subnet],
        "ip6": [one.bridge for one in open_ones if one.subnet6],
    }


def _version(rules: str) -> str:
    return f"rules_{crc32(rules.encode()):08x}"
