"""Configuration files, settings and registry names, whatever they hold: taken, or refused in one line."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiffin.config import RegistrySettings, load_settings
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.registry.credentials import Credential, Credentials
from tiffin.registry.endpoints import endpoints_of, registry_of, split_host

HOST = "registry.example:5000"
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=12), st.sampled_from(["bWU6eA==", "bWU="])
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = ["auths", "credHelpers", "auth", "identitytoken", HOST, f"https://{HOST}/v2/", "docker.io", ""]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=8), inner, max_size=4)


values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=10)


@given(_objects(values))
def test_any_document_is_read_or_refused_and_keeps_what_is_not_ours(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.json"
        path.write_text(json.dumps(document))
        credentials = Credentials(str(path))
        try:
            credentials.all()
            credentials.get(HOST)
        except TiffinError as error:
            assert "\n" not in str(error)
        try:
            credentials.store(HOST, Credential("me", "x"))
        except InvalidArgument:
            assert json.loads(path.read_text()) == document
            return
        assert credentials.get(HOST) == Credential("me", "x")
        assert credentials.erase(HOST)
        after = json.loads(path.read_text())
        assert {**document, "auths": 0} == {**after, "auths": 0}


@given(st.text(max_size=40) | st.text("ab.:[]/-1_@", max_size=20))
def test_any_name_is_a_host_or_refused(name: str) -> None:
    try:
        registry = registry_of(name)
    except InvalidArgument as error:
        assert "\n" not in str(error)
        return
    assert registry_of(registry) == registry
    assert "/" not in registry
    assert not registry.startswith(".")
    split_host(registry)
    urls = [endpoint.url for endpoint in endpoints_of(registry, RegistrySettings(certs_dirs=()))]
    assert urls[0].startswith("https://")


@given(st.lists(st.text(max_size=20) | st.text("a.:/0123[]", max_size=12), max_size=3), st.text(max_size=30))
def test_any_settings_make_endpoints_or_are_refused(insecure: list[str], mirror: str) -> None:
    # The name is an address: nothing is looked up.
    settings = RegistrySettings(certs_dirs=(), insecure=tuple(insecure), mirrors={"192.0.2.1": (mirror,)})
    settings = settings._replace(insecure=tuple(entry for entry in insecure if "/" not in entry))
    try:
        found = endpoints_of("192.0.2.1", settings)
    except InvalidArgument as error:
        assert "registries." in str(error) or "invalid registry" in str(error)
        assert "\n" not in str(error)
    else:
        assert found[0].mirror
        assert all(endpoint.url.isascii() and endpoint.url.isprintable() for endpoint in found)


@given(st.binary(max_size=60) | st.text("[]registiesmao=\n\"'", max_size=60).map(str.encode))
def test_any_settings_file_is_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.toml"
        path.write_bytes(data)
        try:
            load_settings({"TIFFIN_CONFIG": str(path)})
        except InvalidArgument as error:
            assert str(path) in str(error)
