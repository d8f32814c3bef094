"""WWW-Authenticate and Link headers as registries write them, and as they should not."""

from __future__ import annotations

import pytest

from tiffin.registry import scopes
from tiffin.registry.challenges import Challenge, parse_challenges, parse_link


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('Basic realm="Registry Realm"', [Challenge("basic", {"realm": "Registry Realm"})]),
        ("Basic", [Challenge("basic", {})]),
        ("BASIC REALM=x", [Challenge("basic", {"realm": "x"})]),
        (
            'Basic realm="a, Bearer realm=\\"b\\"", Bearer realm = "c" , service=d',
            [
                Challenge("basic", {"realm": 'a, Bearer realm="b"'}),
                Challenge("bearer", {"realm": "c", "service": "d"}),
            ],
        ),
        ("Negotiate, Basic realm=x", [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        (
            "NTLM TlRMTVNTUAAC==, Basic realm=x",
            [Challenge("ntlm", {}), Challenge("basic", {"realm": "x"})],
        ),
        ("Bearer realm=a, realm=b", [Challenge("bearer", {"realm": "a"})]),
        ('Bearer realm="a",, ,service="b"', [Challenge("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="unterminated', [Challenge("bearer", {"realm": ""})]),
        ('Bearer realm=""', [Challenge("bearer", {"realm": ""})]),
        ("", []),
        (", ,", []),
        ('"quoted"', []),
    ],
)
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


def test_challenges_are_bounded() -> None:
    assert len(parse_challenges("A, " * 1000)) == 16
    many = "Bearer " + ",".join(f"p{n}=x" for n in range(1000))
    assert len(parse_challenges(many)[0].params) == 32
    assert parse_challenges("Bearer realm=" + "x" * 100_000)[0].params["realm"] != "x" * 100_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('</v2/a/tags/list?last=b&n=2>; rel="next"', "/v2/a/tags/list?last=b&n=2"),
        ("</x>; rel=next", "/x"),
        ('<https://h/x,y;z>; title="a; rel=prev, <b>"; rel="prev next"', "https://h/x,y;z"),
        ('</first>; rel="first", </next>; rel="next"', "/next"),
        ('</x>;rel="NEXT"', "/x"),
        ('</x>; rel="prev"', ""),
        ('</x>; rel="prev"; rel="next"', ""),
        ("</x>", ""),
        ("", ""),
        ("/x; rel=next", ""),
        ("</x; rel=next", ""),
    ],
)
def test_the_next_page_is_found(header: str, expected: str) -> None:
    assert parse_link(header, "next") == expected


def test_scopes_are_sets_of_actions() -> None:
    assert scopes.parse("repository:a/b:pull,push registry:catalog:*") == frozenset(
        {("repository", "a/b", "pull"), ("repository", "a/b", "push"), ("registry", "catalog", "*")}
    )
    assert scopes.parse("repository:host:5000/a:pull") == {("repository", "host:5000/a", "pull")}
    assert scopes.parse("nonsense :: a:b repository:x:") == frozenset()
    wanted = scopes.repository("b", "push", "pull") | scopes.repository("a", "pull")
    assert scopes.texts(wanted) == ["repository:a:pull", "repository:b:pull,push"]
    assert scopes.repository("b", "pull") <= wanted
