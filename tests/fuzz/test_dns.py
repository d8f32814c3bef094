"""Whatever a container or a name server sends to the resolver: an answer that is a message, or the declared error."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.network import dnswire as wire
from tiffin.network.resolver import View, lookup

VIEW = View(
    names={("n", "web"): ["10.0.0.2", "10.0.0.3", "fd00::2"]},
    addresses={("n", "10.0.0.2"): "web.front"},
    homes={"one": ["n"]},
    servers={"one": []},
    links={"one": {"store": "web"}},
)

numbers = st.integers(0, 0xFFFF)
labels = st.one_of(
    st.sampled_from([b"web", b"WEB", b"store", b"in-addr", b"arpa", b"ip6", b"10", b"0", b"2", b"\xc0\x0c"]),
    st.binary(max_size=70),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Like a query, more or less: the counts, the labels' lengths and the end are anybody's."""
    flags = draw(st.sampled_from([0, 0x0100, 0x0120, 0x8180, 0x2800, 0xFFFF]))
    counts = draw(st.tuples(st.sampled_from([1, 0, 2, 0xFFFF]), numbers, numbers, numbers))
    body = b"".join(
        bytes([draw(st.sampled_from([len(label) & 0xFF, 63, 64, 192, 255]))]) + label
        for label in draw(st.lists(labels, max_size=8))
    )
    end = draw(st.sampled_from([b"\0", b"", b"\xc0\x0c", b"\xc0"]))
    kind, family = draw(st.sampled_from([1, 12, 28, 255, 0, 41])), draw(st.sampled_from([1, 255, 3, 0]))
    whole = (
        struct.pack("!HHHHHH", draw(numbers), flags, *counts) + body + end + struct.pack("!HH", kind, family)
    )
    whole += draw(st.binary(max_size=40))
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


def answered(query: bytes) -> bytes:
    """What the resolver says of itself; b"" where it would ask others or say nothing."""
    try:
        question = wire.parse_query(query)
    except InvalidArgument:
        return wire.refuse(query)
    records = lookup(VIEW, "one", question, turn=1)
    return b"" if records is None else wire.reply(query, question, 0, records, wire.DATAGRAM)


@given(st.one_of(messages(), st.binary(max_size=600)))
def test_every_message_has_an_answer_or_none(query: bytes) -> None:
    response = answered(query)
    if not response:
        return
    assert len(response) <= max(wire.DATAGRAM, len(query)), "nobody is made to send more than was asked for"
    assert response[:2] == query[:2] and response[2] & 0x80
    assert not answered(response), "an answer is not answered"


@given(messages(), st.one_of(messages(), st.binary(max_size=600)))
def test_only_a_response_to_the_question_belongs_to_it(query: bytes, response: bytes) -> None:
    if wire.belongs(query, response):
        question = wire.parse_query(query)
        assert response[:2] == query[:2] and response[2] & 0x80
        assert response[12 : question.end].lower() == query[12 : question.end].lower()
        assert wire.has_failed(response) in (True, False)


@given(st.text(max_size=300))
def test_any_name_is_encoded(name: str) -> None:
    data, offset = wire.encode_name(name), 0
    while data[offset]:
        assert data[offset] <= 63
        offset += 1 + data[offset]
    assert offset == len(data) - 1
