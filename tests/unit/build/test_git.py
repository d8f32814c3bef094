"""References to git repositories, and what logs in to them."""

import base64
from pathlib import Path

import pytest

from tiffin.build.contexts import git
from tiffin.build.contexts.arrivals import is_remote
from tiffin.build.contexts.inputs import Lent, SecretSource


@pytest.mark.parametrize(
    ("text", "url", "ref", "subdirectory"),
    [
        ("https://host/a.git", "https://host/a.git", "", ""),
        ("https://host/a.git#v1.2", "https://host/a.git", "v1.2", ""),
        ("https://host/a.git#feature/x:sub/dir", "https://host/a.git", "feature/x", "sub/dir"),
        ("https://host/a.git#:sub", "https://host/a.git", "", "sub"),
        ("http://host:8080/a.git", "http://host:8080/a.git", "", ""),
        ("git://host/a.git", "git://host/a.git", "", ""),
        ("git@host:team/a.git#main", "ssh://git@host/team/a.git", "main", ""),
        ("ssh://me@host:2222/a.git", "ssh://me@host:2222/a.git", "", ""),
        ("https://[2001:db8::1]:8443/a.git", "https://[2001:db8::1]:8443/a.git", "", ""),
    ],
)
def test_a_reference_and_its_parts(text: str, url: str, ref: str, subdirectory: str) -> None:
    found = git.parse(text)
    assert (found.url, found.ref, found.subdirectory, found.header) == (url, ref, subdirectory, "")


def test_a_user_in_the_url_becomes_a_header() -> None:
    found = git.parse("https://me:pa%40ss@host/a.git")
    assert found.url == "https://host/a.git"
    assert found.header == "Authorization: Basic " + base64.b64encode(b"me:pa@ss").decode()
    assert "pa@ss" not in found.shown


def test_a_token_is_for_https_and_for_its_host(tmp_path: Path) -> None:
    for name in ("all", "one"):
        (tmp_path / name).write_text(f"token of {name}\n")
    lent = Lent(
        {
            "GIT_AUTH_TOKEN": SecretSource(str(tmp_path / "all")),
            "GIT_AUTH_TOKEN.one.example": SecretSource(str(tmp_path / "one")),
        }
    )

    def header(url: str) -> str:
        return git._authorization(git.parse(url), lent)

    def basic(text: str) -> str:
        return "Authorization: Basic " + base64.b64encode(f"x-access-token:{text}".encode()).decode()

    assert header("https://one.example/a.git") == basic("token of one")
    assert header("https://two.example/a.git") == basic("token of all")
    assert header("http://one.example/a.git") == ""
    assert header("https://me:x@one.example/a.git").endswith(base64.b64encode(b"me:x").decode())


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        (".", False),
        ("/abs/dir.git", False),
        ("-", False),
        ("github.com/a/b", True),
        ("https://host/x.tar.gz", True),
        ("git@host:a.git", True),
        ("https://host/a.git#main", True),
    ],
)
def test_which_contexts_are_elsewhere(text: str, remote: bool) -> None:
    assert is_remote(text) == remote


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("https://host/team/a.git", "../b.git", "https://host/team/b.git"),
        ("https://host/team/a.git", "./sub.git", "https://host/team/a.git/sub.git"),
        ("https://host/a.git", "../../../../etc", "https://host/etc"),
        ("https://host/a.git", "https://other/b.git", "https://other/b.git"),
    ],
)
def test_a_submodules_url_relative_to_its_repository(base: str, url: str, expected: str) -> None:
    assert git._absolute(base, url) == expected
