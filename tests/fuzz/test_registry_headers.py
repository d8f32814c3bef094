"""Headers of registries: whatever they hold, they are read in bounds, and what was written is read again."""

from __future__ import annotations

import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiffin.errors import TransferError
from tiffin.registry import scopes
from tiffin.registry.challenges import Challenge, parse_challenges, parse_link
from tiffin.registry.origin import origin_of, resolve_location
from tiffin.registry.redact import Redactor, redact
from tiffin.registry.waiting import retry_after

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
marks = st.text(alphabet='"\\,;=<> \t\nab:/?#@[]%&é', max_size=60)
quotable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


@settings(deadline=None)  # each has its own, of a second
@given(marks | st.text(max_size=200))
@example('Bearer realm="' + "\\" * 5000)
@example("a=" * 8000)
@example(", " * 8000 + "x")
@example("<" * 16000)
@example("</x>" + ";" * 16000)
@example("</x>" + "; a" * 5000)
def test_any_header_is_read_in_bounds(header: str) -> None:
    began = time.monotonic()
    found = parse_challenges(header)
    parse_link(header, "next")
    retry_after(header)
    assert len(found) <= 16
    assert all(len(challenge.params) <= 32 and challenge.scheme for challenge in found)
    assert len(scopes.parse(header)) <= 64 * 64
    assert time.monotonic() - began < 1


@given(
    st.lists(
        st.tuples(words, st.dictionaries(words, quotable, min_size=1, max_size=4)), min_size=1, max_size=4
    )
)
def test_challenges_that_were_written_are_read(written: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in params.items())
        for scheme, params in written
    )
    assert parse_challenges(header) == [Challenge(scheme, params) for scheme, params in written]


@given(words, words)
def test_links_that_were_written_are_read(path: str, title: str) -> None:
    header = f'</{title}>; rel="prev", </v2/{path}?last=a,b;c>; title="{title}, \\"x\\""; rel="next"'
    assert parse_link(header, "next") == f"/v2/{path}?last=a,b;c"


@given(st.sampled_from(["https://h/v2/x", "http://h:5000/"]), marks | st.text(max_size=50))
def test_a_location_is_a_checked_url_or_refused(base: str, location: str) -> None:
    try:
        found = resolve_location(base, location)
    except TransferError:
        return
    origin = origin_of(found)
    assert origin.scheme in ("http", "https")
    assert origin.host
    assert "@" not in found.partition("://")[2].partition("/")[0]
    assert "\n" not in found


@given(
    st.text(max_size=80),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4, max_size=20),
    st.text(max_size=80),
)
def test_what_was_learnt_never_comes_through(before: str, secret: str, after: str) -> None:
    sink = Redactor()
    sink.learn(secret)
    told = sink(before + secret + after)
    assert secret not in told.replace("<redacted>", "\x00")


@given(st.text(max_size=300))
@example("://" * 2000)
@example("a" * 20000 + "://")
@example("?token=" * 2000)
@example("eyJ" * 5000)
@example("x-amz-" * 3000)
def test_redacting_takes_no_time(text: str) -> None:
    began = time.monotonic()
    redact(text)
    assert time.monotonic() - began < 1
