import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument
from tiffin.oci import reference
from tiffin.oci.reference import parse_reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/library/a:b", "docker.io/library/a:b", "a:b"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("ghcr.io/x/y:1", "ghcr.io/x/y:1", "ghcr.io/x/y:1"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
        ("Host/x", "Host/x:latest", "Host/x:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        (f"a@sha256:{HEX}", f"docker.io/library/a@sha256:{HEX}", f"a@sha256:{HEX}"),
        (f"a:t@sha256:{HEX}", f"docker.io/library/a:t@sha256:{HEX}", f"a:t@sha256:{HEX}"),
        ("a__b-c--d.e", "docker.io/library/a__b-c--d.e:latest", "a__b-c--d.e:latest"),
    ],
)
def test_a_reference_has_dockers_normal_and_familiar_forms(text: str, full: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert str(reference) == full
    assert reference.familiar() == familiar
    assert parse_reference(full) == parse_reference(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "a b",
            "a//b",
            "/a",
            "a/",
            ":x",
            "a:",
            "a:b:c",
            "-a",
            "a..b",
            "a___b",
            "a\n",
            "a:t\n",
            "a@x",
        ),
        *("a:" + "t" * 129, "a@sha256:" + HEX[:-1], "a@sha512:" + HEX * 2, "é", "a:é", "a@", "../x", "_a"),
    ],
)
def test_what_is_no_reference_is_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        parse_reference(text)


def test_an_upper_case_repository_says_so() -> None:
    with pytest.raises(InvalidArgument, match=r"repository name \(library/Alpine\) must be lowercase"):
        parse_reference("Alpine")


def test_a_whole_id_is_no_repository() -> None:
    with pytest.raises(InvalidArgument, match="cannot specify 64-byte hexadecimal strings"):
        parse_reference(HEX)


def test_a_name_has_at_most_255_characters() -> None:
    parse_reference("r.io/" + "a" * 250)
    with pytest.raises(InvalidArgument, match="more than 255 characters"):
        parse_reference("r.io/" + "a" * 251)


@given(st.text(alphabet="aZ0.:/@-_[]\n é", max_size=40))
def test_whatever_parses_parses_to_itself(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument as error:
        assert "\n" not in str(error)
        return
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar()) == reference


COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
GRAMMARS: dict[Callable[[str], bool], str] = {
    reference._is_component: COMPONENT,
    reference._is_registry: rf"(?:{LABEL}(?:\.{LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?",
    reference._is_tag: r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
}


@settings(max_examples=400)
@given(st.sampled_from(list(GRAMMARS)), st.text("aZ09f._-:[]/\n\u00e9\u0660", max_size=12))
def test_the_grammar_is_that_of_distribution(accepts: Callable[[str], bool], text: str) -> None:
    assert accepts(text) == (re.fullmatch(GRAMMARS[accepts], text) is not None)


def test_a_tag_has_at_most_128_characters() -> None:
    assert parse_reference(f"a:{'t' * 128}").tag == "t" * 128
    with pytest.raises(InvalidArgument):
        parse_reference(f"a:{'t' * 129}")
