"""What a Dockerfile, a server or a command line says of sources: any text is understood or refused, never more."""

from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from tiffin.build.contexts import download, git, lending
from tiffin.build.copying.parents import PathPattern, split_pivot
from tiffin.errors import InvalidArgument, NotFound, TransferError
from tiffin.oci.reference import parse_reference
from tiffin.registry.origin import origin_of

WORDS = st.lists(
    st.sampled_from(
        [
            *(
                "https://",
                "http://",
                "ssh://",
                "git://",
                "git@",
                "ext::",
                "file://",
                "host",
                "127.0.0.1",
                "[::1]",
                "[",
                "]",
            ),
            *(
                ":",
                "/",
                "//",
                "@",
                "#",
                "?",
                "%",
                "%2f",
                "..",
                ".",
                ".git",
                "-",
                "--",
                "~",
                "^",
                "*",
                "\\",
                " ",
                "\n",
                "\0",
            ),
            *("v1", "main", "a", "é", "\udc80", ":80", ":99999", ","),
        ]
    ),
    max_size=12,
).map("".join)
TEXT = WORDS | st.text(max_size=40)


@given(TEXT)
@example("https://[::1/a.git")
@example("https://host:99999/a.git")
@example("ssh://%2d@host/a.git")
def test_a_git_reference_is_parsed_or_refused(text: str) -> None:
    try:
        found = git.parse(text)
    except InvalidArgument:
        return
    scheme, _, rest = found.url.partition("://")
    assert scheme in ("https", "http", "ssh", "git")
    authority = rest.partition("/")[0]
    assert not authority.startswith("-") and "@-" not in authority
    assert not found.ref.startswith("-")
    assert ".." not in found.subdirectory.split("/")
    assert not set("\n\0 ") & set(found.url + found.ref)


@given(TEXT)
@example("http://[::1")
@example("http://u:p@[::1")
def test_a_url_is_split_or_refused(text: str) -> None:
    with suppress(InvalidArgument, TransferError):
        url, header = download._split_user(text)
        origin_of(url)
        assert "\n" not in header


@given(TEXT, TEXT)
def test_patterns_of_parents_match_or_are_refused(pattern: str, path: str) -> None:
    base, rest = split_pivot(pattern)
    assert len(base) + len(rest) <= len(pattern)
    with suppress(InvalidArgument):
        found = PathPattern(rest)
        if found.matches(path):
            assert found.may_lead_to(path)


@given(TEXT, TEXT)
def test_what_is_lent_is_understood_or_refused(secret: str, name: str) -> None:
    with suppress(InvalidArgument, NotFound):
        lending.lent([secret], [])
    with suppress(InvalidArgument):
        lending.granted([name])
    with suppress(InvalidArgument):
        lending.check_contexts([name])
        with suppress(InvalidArgument):
            parse_reference(name)


@given(TEXT, TEXT)
def test_what_a_server_says_of_a_file_is_a_name_and_a_time(disposition: str, when: str) -> None:
    class Said:
        def header(self, name: str) -> str:
            return disposition.replace("\n", " ").replace("\r", " ") if name == "content-disposition" else ""

    name = download._name(Said(), "https://host/" + disposition)  # type: ignore[arg-type] # all that it asks
    assert name and "/" not in name and name not in (".", "..") and "\0" not in name
    assert download._time(when) >= 0
