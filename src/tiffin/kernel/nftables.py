"""Questions to nftables over netlink: which chains there are, what becomes of packets that none of a chain's rules
decides, what is noted at rules. No process is started; changes are made by `nft` itself."""

import struct

from tiffin.kernel import netlink
from tiffin.kernel import sockets as socket
from tiffin.typed import NamedTuple

FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6, "inet": 1}

_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES in the high byte
_GETCHAIN, _GETRULE = _SUBSYSTEM | 4, _SUBSYSTEM | 7
_DUMP = 0x300
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_HOOK_NUMBER = 1
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE = 1, 2, 3
_FORWARD = 2  # NF_INET_FORWARD
_DROP = 0
_HEADER = struct.Struct("!BBH")  # nfgenmsg: family, version, resource


class Chain(NamedTuple):
    """A chain of rules; `hook` is -1 for one that only other chains lead to."""

    family: str
    table: str
    name: str
    hook: int
    drops: bool

    @property
    def forwards(self) -> bool:
        """Whether it sees the packets that the machine passes on."""
        return self.hook == _FORWARD


class Rule(NamedTuple):
    """A rule: its handle, and its whole message, in which a comment of one's own can be looked for."""

    handle: int
    content: bytes


def find_chain(family: str, table: str, name: str) -> Chain | None:
    """A chain of this namespace, or None."""
    body = _HEADER.pack(FAMILIES[family], 0, 0) + _text(_CHAIN_TABLE, table) + _text(_CHAIN_NAME, name)
    with netlink.Socket(netlink.NETLINK_NETFILTER) as firewall:
        try:
            answers = firewall.get(netlink.Request(_GETCHAIN, 0, body, f"chain {name}"))
        except FileNotFoundError:
            return None
    return _decode(answers[0]) if answers else None


def chains() -> list[Chain]:
    """Every chain of this namespace."""
    body = _HEADER.pack(0, 0, 0)
    with netlink.Socket(netlink.NETLINK_NETFILTER) as firewall:
        answers = firewall.get(netlink.Request(_GETCHAIN, _DUMP, body, "chains"))
    return [_decode(answer) for answer in answers]


def rules(family: str, table: str, chain: str) -> list[Rule]:
    """The rules of a chain, in order; none when there is no such chain."""
    body = _HEADER.pack(FAMILIES[family], 0, 0) + _text(_RULE_TABLE, table) + _text(_RULE_CHAIN, chain)
    with netlink.Socket(netlink.NETLINK_NETFILTER) as firewall:
        try:
            answers = firewall.get(netlink.Request(_GETRULE, _DUMP, body, f"rules of {chain}"))
        except FileNotFoundError:
            return []
    found = []
    for answer in answers:
        handle = netlink.parse_attributes(answer, _HEADER.size).get(_RULE_HANDLE, bytes(8))
        found.append(Rule(int.from_bytes(handle, "big"), answer))
    return found


def _decode(answer: bytes) -> Chain:
    number = _HEADER.unpack_from(answer)[0]
    family = next((name for name, known in FAMILIES.items() if known == number), str(number))
    attributes = netlink.parse_attributes(answer, _HEADER.size)
    hook = -1
    if _CHAIN_HOOK in attributes:
        hook = int.from_bytes(netlink.parse_attributes(attributes[_CHAIN_HOOK]).get(_HOOK_NUMBER, b""), "big")
    policy = attributes.get(_CHAIN_POLICY)
    drops = policy is not None and int.from_bytes(policy, "big") == _DROP
    return Chain(family, _name(attributes, _CHAIN_TABLE), _name(attributes, _CHAIN_NAME), hook, drops)


def _name(attributes: dict[int, bytes], kind: int) -> str:
    return attributes.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _text(kind: int, text: str) -> bytes:
    return netlink.attribute(kind, text.encode() + b"\0")
