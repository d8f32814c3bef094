"""A registry's name becomes the addresses to ask: Docker's rules, and stricter where those can be tricked."""

import socket
from pathlib import Path

import pytest

from tiffin.config import RegistrySettings
from tiffin.errors import InvalidArgument
from tiffin.registry.endpoints import Endpoint, endpoints_of, is_insecure, registry_of, split_host

PLAIN = RegistrySettings(certs_dirs=())


def urls(registry: str, settings: RegistrySettings = PLAIN, *, push: bool = False) -> list[str]:
    return [endpoint.url for endpoint in endpoints_of(registry, settings, push=push)]


@pytest.fixture
def no_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no name may be looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_lookups")
@pytest.mark.parametrize(
    "name", ["docker.io", "index.docker.io", "", "https://index.docker.io/v1/", "Docker.io"]
)
def test_docker_hub_has_one_address_whatever_it_is_called(name: str) -> None:
    assert endpoints_of(name, PLAIN) == (Endpoint("https://registry-1.docker.io", "docker.io"),)


@pytest.mark.usefixtures("no_lookups")
@pytest.mark.parametrize("insecure", [("docker.io",), ("registry-1.docker.io", "0.0.0.0/0", "::/0")])
def test_docker_hub_is_never_insecure(insecure: tuple[str, ...]) -> None:
    settings = RegistrySettings(certs_dirs=(), insecure=insecure)
    assert endpoints_of("docker.io", settings) == (Endpoint("https://registry-1.docker.io", "docker.io"),)


@pytest.mark.usefixtures("no_lookups")
@pytest.mark.parametrize("name", ["ghcr.io", "registry.example:5000", "[2001:db8::1]:5000", "10.1.2.3"])
def test_any_other_registry_is_https_alone(name: str) -> None:
    assert endpoints_of(name, PLAIN) == (Endpoint(f"https://{name}", name),)


@pytest.mark.usefixtures("no_lookups")
@pytest.mark.parametrize(
    "name",
    ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]", "[::1]:5000", "kind.localhost:1"],
)
def test_loopback_is_asked_by_https_then_http(name: str) -> None:
    assert endpoints_of(name, PLAIN) == (
        Endpoint(f"https://{name}", name, insecure=True),
        Endpoint(f"http://{name}", name, insecure=True),
    )


@pytest.mark.usefixtures("no_lookups")
@pytest.mark.parametrize("name", ["localhost.example", "127.0.0.1.example", "notlocalhost:5000"])
def test_what_only_looks_like_loopback_is_not(name: str) -> None:
    assert urls(name) == [f"https://{name}"]


@pytest.mark.usefixtures("no_lookups")
def test_an_insecure_entry_is_for_exactly_its_host_and_port() -> None:
    settings = RegistrySettings(
        certs_dirs=(), insecure=("Registry.example:5000", "http://old.example/", "10.9.8.7")
    )
    assert urls("registry.example:5000", settings) == [
        "https://registry.example:5000",
        "http://registry.example:5000",
    ]
    assert urls("registry.example", settings) == ["https://registry.example"]
    assert len(urls("old.example", settings)) == 2
    assert len(urls("10.9.8.7", settings)) == 2
    assert len(urls("10.9.8.7:5000", settings)) == 1


@pytest.mark.usefixtures("no_lookups")
def test_an_insecure_network_takes_in_the_addresses_in_it() -> None:
    settings = RegistrySettings(certs_dirs=(), insecure=("10.0.0.0/8", "fd00::/8"))
    assert is_insecure("10.200.1.1:5000", settings)
    assert is_insecure("[fd12::5]:5000", settings)
    assert not is_insecure("11.0.0.1", settings)
    assert not is_insecure("[fe80::5]", settings)


def _resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def answer(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "registry.example"
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_a_host_is_in_a_network_when_all_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RegistrySettings(certs_dirs=(), insecure=("10.0.0.0/8",))
    _resolving(monkeypatch, "10.0.0.1", "10.0.0.2")
    assert is_insecure("registry.example:5000", settings)
    _resolving(monkeypatch, "10.0.0.1", "93.184.216.34")
    assert not is_insecure("registry.example:5000", settings)
    _resolving(monkeypatch)
    assert not is_insecure("registry.example:5000", settings)


def test_t17_a_name_that_resolves_to_loopback_is_not_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving(monkeypatch, "127.0.0.1")
    assert not is_insecure("registry.example", PLAIN)
    assert not is_insecure("registry.example", RegistrySettings(insecure=("10.0.0.0/8",)))


def test_a_host_that_nobody_knows_is_in_no_network() -> None:
    assert not is_insecure("absent.invalid", RegistrySettings(insecure=("10.0.0.0/8",)))


@pytest.mark.parametrize("entry", ["", "host/path", "10.0.0.0/33", "a b", "ftp://x", "::1"])
def test_an_insecure_entry_without_sense_is_named(entry: str) -> None:
    with pytest.raises(InvalidArgument, match=r"registries\.insecure in the settings: .* want HOST"):
        endpoints_of("x.example", RegistrySettings(insecure=(entry,)))


@pytest.mark.usefixtures("no_lookups")
def test_mirrors_come_first_for_pulls_and_never_for_pushes() -> None:
    settings = RegistrySettings(
        certs_dirs=(),
        mirrors={
            "docker.io": ("https://one.example/", "http://two.example:5000", "three.example/proxy/"),
            "ghcr.io": ("https://four.example",),
        },
    )
    assert endpoints_of("docker.io", settings) == (
        Endpoint("https://one.example", "docker.io", mirror=True),
        Endpoint("http://two.example:5000", "docker.io", mirror=True),
        Endpoint("https://three.example/proxy", "docker.io", mirror=True),
        Endpoint("https://registry-1.docker.io", "docker.io"),
    )
    assert urls("ghcr.io", settings) == ["https://four.example", "https://ghcr.io"]
    assert urls("quay.io", settings) == ["https://quay.io"]
    assert urls("docker.io", settings, push=True) == ["https://registry-1.docker.io"]


@pytest.mark.usefixtures("no_lookups")
def test_a_mirror_is_trusted_as_its_own_host_is_and_has_its_own_credentials() -> None:
    settings = RegistrySettings(
        certs_dirs=(),
        insecure=("two.example:5000",),
        mirrors={"index.docker.io": ("https://two.example:5000/p",)},
    )
    mirror, hub = endpoints_of("docker.io", settings)
    assert (mirror.insecure, mirror.host, mirror.credential_name) == (
        True,
        "two.example:5000",
        "two.example:5000",
    )
    assert (hub.insecure, hub.host, hub.credential_name) == (False, "registry-1.docker.io", "docker.io")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://x.example", "want http:// or https://"),
        ("https://x.example?q=1", "no query"),
        ("https://x.example/#f", "no fragment"),
        ("https://", "invalid registry"),
        ("https://x.example:99999", "invalid registry"),
        ("https://[::1", "not a valid URL"),
        ("https://x example", "URL ends"),
        ("https://user:hunter2@x.example", "use 'tiffin login'"),
    ],
)
def test_a_mirror_that_is_no_url_is_refused_without_its_password(url: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why) as refused:
        endpoints_of("docker.io", RegistrySettings(mirrors={"docker.io": (url,)}))
    assert "hunter2" not in str(refused.value)


# ---- certs.d


def _directory(path: Path, *files: str) -> Path:
    path.mkdir(parents=True)
    for file in files:
        (path / file).write_text("")
    return path


def test_certificates_are_found_by_host_and_port(tmp_path: Path) -> None:
    place = _directory(
        tmp_path / "a/registry.example:5000", "ca.crt", "b.crt", "client.cert", "client.key", "notes.txt"
    )
    settings = RegistrySettings(certs_dirs=(f"{tmp_path}/absent", f"{tmp_path}/a"))
    (found,) = endpoints_of("registry.example:5000", settings)
    assert found.ca_files == (f"{place}/b.crt", f"{place}/ca.crt")
    assert found.client_certificates == ((f"{place}/client.cert", f"{place}/client.key"),)
    assert endpoints_of("registry.example", settings) == (
        Endpoint("https://registry.example", "registry.example"),
    )


def test_the_first_directory_that_knows_the_host_answers(tmp_path: Path) -> None:
    first = _directory(tmp_path / "a/x.example", "one.crt")
    _directory(tmp_path / "b/x.example", "two.crt")
    (found,) = endpoints_of("x.example", RegistrySettings(certs_dirs=(f"{tmp_path}/a", f"{tmp_path}/b")))
    assert found.ca_files == (f"{first}/one.crt",)


def test_docker_hubs_and_a_mirrors_certificates_are_found_too(tmp_path: Path) -> None:
    hub = _directory(tmp_path / "registry-1.docker.io", "ca.crt")
    own = _directory(tmp_path / "mirror.example", "ca.crt")
    settings = RegistrySettings(
        certs_dirs=(str(tmp_path),), mirrors={"docker.io": ("https://mirror.example",)}
    )
    assert [endpoint.ca_files for endpoint in endpoints_of("docker.io", settings)] == [
        (f"{own}/ca.crt",),
        (f"{hub}/ca.crt",),
    ]


def test_t17_an_authority_for_loopback_means_that_it_is_checked(tmp_path: Path) -> None:
    _directory(tmp_path / "localhost:5000", "ca.crt")
    _directory(tmp_path / "localhost:5001", "client.cert", "client.key")
    settings = RegistrySettings(certs_dirs=(str(tmp_path),))
    (found,) = endpoints_of("localhost:5000", settings)
    assert (found.url, found.insecure) == ("https://localhost:5000", False)
    https, http = endpoints_of("localhost:5001", settings)
    assert https.client_certificates
    assert not http.client_certificates
    listed = settings._replace(insecure=("localhost:5000",))
    assert urls("localhost:5000", listed) == ["https://localhost:5000", "http://localhost:5000"]


def test_half_a_client_certificate_is_refused_in_dockers_words(tmp_path: Path) -> None:
    place = _directory(tmp_path / "x.example", "client.cert")
    settings = RegistrySettings(certs_dirs=(str(tmp_path),))
    with pytest.raises(InvalidArgument) as refused:
        endpoints_of("x.example", settings)
    assert str(refused.value) == (
        f"missing key client.key for client certificate client.cert in {place}; "
        "CA certificates must use the extension .crt"
    )
    (place / "client.cert").rename(place / "other.key")
    with pytest.raises(InvalidArgument, match=r"missing client certificate other\.cert for key other\.key"):
        endpoints_of("x.example", settings)


# ---- names


@pytest.mark.parametrize(
    ("server", "registry"),
    [
        ("", "docker.io"),
        ("https://registry.example:5000/v2/", "registry.example:5000"),
        ("http://localhost:5000", "localhost:5000"),
        ("myhost", "myhost"),
        (" quay.io/team ", "quay.io"),
    ],
)
def test_a_server_is_named_as_users_and_files_name_it(server: str, registry: str) -> None:
    assert registry_of(server) == registry


@pytest.mark.parametrize(
    "name",
    ["", "..", "a:0", "a:99999", "a:b", "u@h", "a b", "-x", "x\n", "[::1", "[zz]", "[1.2.3.4]x", "é", "a/b"],
)
def test_what_names_no_host_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid registry"):
        split_host(name)


@pytest.mark.parametrize("name", ["..", "../..", "https://", "https://..", "/etc"])
def test_no_registry_is_named_so_that_another_directory_is_read(name: str, tmp_path: Path) -> None:
    _directory(tmp_path / "certs.d", "half.key")
    with pytest.raises(InvalidArgument, match="invalid registry"):
        endpoints_of(name, RegistrySettings(certs_dirs=(f"{tmp_path}/certs.d",)))


def test_a_host_is_split_from_its_port() -> None:
    assert split_host("x.example:5000") == ("x.example", "5000")
    assert split_host("[::1]") == ("::1", "")
    assert split_host("[2001:db8::1]:443") == ("2001:db8::1", "443")
