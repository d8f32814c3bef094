"""`Engine.registry`: what it refuses before it asks anybody, and where a search goes."""

from pathlib import Path

import pytest

from tiffin.engine import Engine
from tiffin.engine.registry import RegistryService, _split_term
from tiffin.errors import InvalidArgument, Unauthorized
from tiffin.registry.credentials import Credential, Credentials


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistryService:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Engine(str(tmp_path / "root"), str(tmp_path / "run")).registry


@pytest.mark.parametrize(
    ("username", "password", "text"),
    [
        ("me", "", "needs both"),
        ("", "x", "needs both"),
        ("a:b", "x", "no colon"),
        ("a\nb", "x", "no control characters"),
    ],
)
def test_half_a_login_is_refused(service: RegistryService, username: str, password: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        service.login("registry.invalid", username, password)


def test_without_a_user_name_a_login_must_be_kept_already(service: RegistryService, tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match=r"no login is kept for registry\.invalid: give a user name"):
        service.login("registry.invalid")
    assert service.logged_in("registry.invalid") is None
    assert not (tmp_path / "docker").exists()


def test_a_login_is_known_by_its_user_and_forgotten(service: RegistryService) -> None:
    Credentials().store("docker.io", Credential("me", "x"))
    assert service.logged_in() == "me"
    assert service.logout() == ("https://index.docker.io/v1/", True)
    assert service.logout("docker.io") == ("https://index.docker.io/v1/", False)


@pytest.mark.parametrize(
    ("term", "where"),
    [
        ("web", ("docker.io", "web")),
        ("library/web", ("docker.io", "web")),
        ("you/web", ("docker.io", "you/web")),
        ("ghcr.io/you/web", ("ghcr.io", "you/web")),
        ("localhost/web", ("localhost", "web")),
        ("[::1]:5000/web", ("[::1]:5000", "web")),
        ("docker.io/web", ("docker.io", "web")),
        ("v1.2", ("docker.io", "v1.2")),
    ],
)
def test_a_term_may_begin_with_its_registry(term: str, where: tuple[str, str]) -> None:
    assert _split_term(term) == where
