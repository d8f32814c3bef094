"""DNS messages, and what the resolver makes of a question, without a network."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.network import dnswire as wire
from tiffin.network.resolver import View, lookup

VIEW = View(
    names={("n", "web"): ["10.0.0.2", "10.0.0.3"], ("m", "db"): ["10.1.0.2"]},
    addresses={("n", "10.0.0.2"): "web.front"},
    homes={"one": ["n"], "both": ["n", "m"]},
    servers={},
    links={"one": {"store": "web"}},
)


def query(name: str, kind: int = wire.A) -> bytes:
    return (
        struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + wire.encode_name(name) + struct.pack("!HH", kind, 1)
    )


def addresses(container: str, name: str, turn: int = 0) -> list[str] | None:
    found = lookup(VIEW, container, wire.parse_query(query(name)), turn)
    return None if found is None else [socket.inet_ntoa(data) for _, data in found]


def test_a_query_is_read_and_its_name_has_no_case() -> None:
    found = wire.parse_query(query("Web.Front"))
    assert (found.identity, found.name, found.kind) == (7, "web.front", wire.A)


def test_names_are_those_of_shared_networks_in_turn() -> None:
    assert addresses("one", "web") == ["10.0.0.2", "10.0.0.3"]
    assert addresses("one", "web", turn=1) == ["10.0.0.3", "10.0.0.2"]
    assert addresses("one", "db") is None
    assert addresses("both", "db") == ["10.1.0.2"]
    assert addresses("nobody", "web") is None
    assert lookup(VIEW, "one", wire.parse_query(query("web", 28))) == [], "no IPv6, and nobody else is asked"


def test_an_address_has_a_name() -> None:
    question = wire.parse_query(query("2.0.0.10.in-addr.arpa", wire.PTR))
    assert lookup(VIEW, "one", question) == [(wire.PTR, b"\x03web\x05front\0")]
    assert lookup(VIEW, "nobody", question) is None


def test_both_families_are_told_each_for_its_own_question() -> None:
    view = View(
        {("n", "web"): ["10.0.0.2", "fd00::2", "10.0.0.3", "fd00::3"]},
        {("n", "fd00::2"): "web.front"},
        {"one": ["n"]},
        {},
        {},
    )
    asked = wire.parse_query(query("web", wire.AAAA))
    two, three = (bytes([0xFD, *bytes(14), last]) for last in (2, 3))
    assert lookup(view, "one", asked) == [(wire.AAAA, two), (wire.AAAA, three)]
    assert lookup(view, "one", asked, 1) == [(wire.AAAA, three), (wire.AAAA, two)], "in turn"
    assert lookup(view, "one", wire.parse_query(query("web"))) == [
        (wire.A, bytes([10, 0, 0, 2])),
        (wire.A, bytes([10, 0, 0, 3])),
    ]
    digits = ".".join(reversed("fd00" + "0" * 27 + "2"))
    assert lookup(view, "one", wire.parse_query(query(f"{digits}.ip6.arpa", wire.PTR))) == [
        (wire.PTR, b"\x03web\x05front\0")
    ]
    for nonsense in ("2.ip6.arpa", f"z{digits[1:]}.ip6.arpa", f"{digits[2:]}.22.ip6.arpa", "ip6.arpa"):
        assert lookup(view, "one", wire.parse_query(query(nonsense, wire.PTR))) is None


def test_a_long_answer_is_cut_and_says_so() -> None:
    asked = query("web")
    records = [(wire.A, bytes(4))] * 100
    short = wire.reply(asked, wire.parse_query(asked), 0, records, wire.DATAGRAM)
    assert len(short) <= wire.DATAGRAM and short[2] & 0x02
    whole = wire.reply(asked, wire.parse_query(asked), 0, records)
    assert struct.unpack_from("!H", whole, 6) == (100,) and not whole[2] & 0x02


def test_only_the_response_to_the_question_counts() -> None:
    asked = query("a.example")
    answer = wire.reply(asked, wire.parse_query(asked), 0, [])
    assert wire.belongs(asked, answer)
    assert not wire.belongs(asked, b"\0\1" + answer[2:])
    assert not wire.belongs(
        asked, wire.reply(query("b.example"), wire.parse_query(query("b.example")), 0, [])
    )
    assert not wire.belongs(asked, asked)


@given(st.binary(max_size=600))
def test_anything_may_arrive(data: bytes) -> None:
    try:
        question = wire.parse_query(data)
    except InvalidArgument:
        return
    assert len(question.name) <= 255
    wire.reply(data, question, 0, [(wire.A, bytes(4))], wire.DATAGRAM)


@pytest.mark.parametrize("cut", range(20))
def test_a_cut_query_is_refused(cut: int) -> None:
    with pytest.raises(InvalidArgument):
        wire.parse_query(query("web")[:cut])
