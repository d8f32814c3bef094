"""--secret, --allow and --build-context as they are written."""

from pathlib import Path

import pytest

from tiffin.build.contexts.inputs import BuildInputs, SecretSource
from tiffin.build.contexts.lending import check_contexts, granted, lent
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "path", "variable"),
    [
        ("id=x,src=FILE", "FILE", ""),
        ("id=x,source=FILE", "FILE", ""),
        ("src=FILE,id=x,type=file", "FILE", ""),
        ("id=x,env=V", "", "V"),
        ("id=x,type=env", "", "x"),
        ("id=x,type=env,src=V", "", "V"),
        ("id=GIVEN", "", "GIVEN"),
    ],
)
def test_where_a_secret_is(
    text: str, path: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("GIVEN", "x")
    found = lent([text.replace("FILE", str(tmp_path / "file"))], [])
    name = "GIVEN" if "GIVEN" in text else "x"
    assert found.secrets == {name: SecretSource(path and str(tmp_path / "file"), variable)}


def test_an_id_alone_is_the_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("npmrc", raising=False)
    (tmp_path / "npmrc").write_text("x")
    assert lent(["id=npmrc"], []).secrets == {"npmrc": SecretSource(str(tmp_path / "npmrc"))}


def test_what_is_granted_is_what_is_named() -> None:
    assert granted([]) == frozenset()
    assert granted(["network.host", "network.host"]) == {"network.host"}


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "a\n", "x" * 300])
def test_a_context_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_contexts([name])


def test_a_named_context_is_known_however_an_image_is_written() -> None:
    def nothing(*_: object) -> None:
        raise AssertionError

    inputs = BuildInputs(
        None,  # type: ignore[arg-type] # not asked for
        {"alpine": "docker-image://other", "Deps": "/srv/deps", "host:5000/x:1": "docker-image://mine"},
        nothing,  # type: ignore[arg-type] # not asked for
        nothing,  # type: ignore[arg-type] # not asked for
    )
    assert inputs.named("alpine") == inputs.named("docker.io/library/alpine:latest") == "other"
    assert inputs.named("alpine:3") is None
    assert inputs.named("deps") == ""
    assert inputs.named("host:5000/x:1") == "mine"
    assert inputs.named("host:5000/x") is None
