"""Living beside other firewalls.

A packet passes when every base chain of a hook lets it: that our own table accepts what a container sends does not
help it where another's drops. Docker, and ufw, have the policy of FORWARD in iptables' `filter` table drop what no
rule of theirs speaks for. There, and only there, each bridge that has a way out gets two rules of ours at the end of
that chain, "what comes in by it" and "what leaves by it": behind the rules of others, so that whatever these refuse or
keep apart stays so (in DOCKER-USER, which comes first, they would open Docker's networks to our containers), and
before the policy. Docker before its version 28 has nothing but the policy between its networks and interfaces that it
does not know; what comes from our bridges therefore passes its DOCKER-ISOLATION-STAGE-2 first, where there is one,
which drops what is for a network of Docker's and has not been accepted as published.

The rules bear a comment with the engine's name, by which they are found again, and go with the networks. Written by
`nft` in words that iptables too can read.

What is dropped by other chains (an administrator's own table, firewalld, iptables-legacy) is said and left alone.
"""

from __future__ import annotations

from tiffin.errors import EngineError
from tiffin.kernel import nftables
from tiffin.network.tool import find_tool, output_of, run_nft
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TABLE, _CHAIN = "filter", "FORWARD"
_FAMILIES = ("ip", "ip6")
_ISOLATION = "DOCKER-ISOLATION-STAGE-2"


def missing(owner: str, bridges: Mapping[str, Sequence[str]]) -> bool:
    """Whether rules for these bridges, by family, are wanted and not there: a message each where no policy drops."""
    return any(
        _wanted(family, owner, bridges[family]).keys() - _ours(family, owner).keys()
        for family in _FAMILIES
        if bridges[family]
    )


def allow(owner: str, bridges: Mapping[str, Sequence[str]]) -> None:
    """Have the rules of exactly these bridges, by family, there, where they are wanted. Raises EngineError."""
    for attempt in range(2):
        script = "".join(_script(family, owner, bridges.get(family, ())) for family in _FAMILIES)
        if not script:
            return
        try:
            run_nft(script)
        except EngineError:
            if attempt:  # somebody removed a rule between our look and our change, twice
                raise


def withdraw(owner: str) -> None:
    """Take all rules of ours out. Idempotent."""
    allow(owner, {})


def refusals(owner: str) -> list[str]:
    """What of others keeps containers from the world, as lines for the user; for when networks are made, not for every
    command."""
    found = []
    for chain in nftables.chains():
        known = chain.table == _TABLE and chain.name == _CHAIN and chain.family in _FAMILIES
        if chain.forwards and chain.drops and not known and chain.table != owner:
            found.append(
                f"the firewall's chain {chain.family} {chain.table} {chain.name} drops what it does not know:"
                " containers reach nothing beyond this machine until it accepts what comes from their bridges"
            )
    if nftables.find_chain("inet", "firewalld", "filter_FORWARD") is not None:
        found.append(
            "firewalld is active: put the bridges of containers into a zone that forwards"
            " (firewall-cmd --permanent --zone=trusted --add-interface=NAME; network inspect tells the names)"
        )
    if _legacy_drops():
        found.append(
            "iptables-legacy drops forwarded packets, and tiffin speaks to nftables alone: containers reach nothing"
            " beyond this machine until `iptables-legacy -P FORWARD ACCEPT`, or a rule for their bridges"
        )
    return found


def _wanted(family: str, owner: str, bridges: Sequence[str]) -> dict[str, str]:
    """The comment and the text of each rule that is to be there, in order; none where no policy drops."""
    chain = nftables.find_chain(family, _TABLE, _CHAIN)
    if chain is None or not (chain.forwards and chain.drops):
        return {}
    isolated = nftables.find_chain(family, _TABLE, _ISOLATION) is not None
    found: dict[str, str] = {}
    for bridge in bridges:
        if isolated:
            found[f"{owner} apart {bridge}"] = f'iifname "{bridge}" counter jump {_ISOLATION}'
        found[f"{owner} from {bridge}"] = f'iifname "{bridge}" counter accept'
        found[f"{owner} to {bridge}"] = f'oifname "{bridge}" counter accept'
    return found


def _ours(family: str, owner: str) -> dict[str, int]:
    found: dict[str, int] = {}
    mark = f"{owner} ".encode()
    for rule in nftables.rules(family, _TABLE, _CHAIN):
        start = rule.content.find(mark)
        if start >= 0:
            comment = rule.content[start:].partition(b"\0")[0].decode(errors="replace")
            found[comment] = rule.handle
    return found


def _script(family: str, owner: str, bridges: Sequence[str]) -> str:
    """What makes the chain have our rules, all at its end; "" when nothing is to be done."""
    found, wanted = _ours(family, owner), _wanted(family, owner, bridges)
    if found.keys() == wanted.keys():
        return ""
    where = f"rule {family} {_TABLE} {_CHAIN}"
    gone = [f"delete {where} handle {handle}\n" for handle in found.values()]
    made = [f'add {where} {text} comment "{comment}"\n' for comment, text in wanted.items()]
    return "".join(gone + made)


def _legacy_drops() -> bool:
    """Whether the other backend of iptables, of which nftables knows nothing, drops what is forwarded."""
    try:
        with open("/proc/thread-self/net/ip_tables_names", encoding="ascii") as file:
            tables = file.read(4096).split()
    except OSError:
        return False
    tool = find_tool("iptables-legacy") if _TABLE in tables else ""
    return bool(tool) and "-P FORWARD DROP" in output_of(tool, "-S", "FORWARD")
