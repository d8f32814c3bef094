"""Proxies, connections and what of them is loaded when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile_registry import PUBLIC_ADDRESS, Answer, Hostile, Proxy, names
from tests.registries import make_tls
from tests.unit.registry.support import client_of, manifest_answer, manifest_of, trusting
from tiffin.config import RegistrySettings
from tiffin.errors import InvalidArgument, TransferError
from tiffin.registry.endpoints import Endpoint
from tiffin.registry.transport import Transport


def test_http_goes_through_a_proxy_with_its_password() -> None:
    with Hostile() as server, Proxy({"registry.example": server.port}) as proxy, names({}):
        server.on("GET", ".*", manifest_answer(manifest_of()))
        settings = RegistrySettings(insecure=("registry.example:80",))
        environment = {"http_proxy": f"http://bob:word@{proxy.address}", "https_proxy": "http://127.0.0.1:1"}
        with client_of(settings=settings, environment=environment) as client:
            assert client.repository("registry.example:80/a").manifest("1").data == manifest_of()
        assert proxy.authorizations == ["Basic Ym9iOndvcmQ="]
        assert proxy.asked == ["GET http://registry.example:80/v2/a/manifests/1 HTTP/1.1"]


def test_https_goes_through_a_tunnel_whose_password_the_registry_never_sees(tmp_path: Path) -> None:
    tls = make_tls(tmp_path, "registry.example")
    with Hostile(tls) as server, Proxy({"registry.example": server.port}) as proxy, names({}):
        server.on("GET", ".*", manifest_answer(manifest_of()))
        environment = {"HTTPS_PROXY": f"http://bob:word@{proxy.address}"}
        settings = trusting(tmp_path, tls, "registry.example")
        with client_of(settings=settings, environment=environment) as client:
            for _ in range(3):
                client.repository("registry.example/a").manifest("1")
        assert len(proxy.asked) == 1  # one tunnel, kept
        assert proxy.authorizations == ["Basic Ym9iOndvcmQ="]
        assert not [name for seen in server.seen for name in seen.headers if "authorization" in name]


def test_a_proxy_that_is_not_there_is_said(tmp_path: Path) -> None:
    with names({"registry.example": [PUBLIC_ADDRESS]}):
        environment = {"https_proxy": "http://127.0.0.1:1"}
        with client_of(environment=environment) as client, pytest.raises(TransferError, match="refused"):
            client.repository("registry.example/a").manifest("1")
        with (
            Proxy({}) as proxy,
            client_of(environment={"https_proxy": proxy.address}) as client,
            pytest.raises(TransferError, match="502"),
        ):
            client.repository("registry.example/a").manifest("1")


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.crt").write_text("no certificate")
    endpoint = Endpoint("https://127.0.0.1:1", "127.0.0.1:1", ca_files=(str(tmp_path / "bad.crt"),))
    transport = Transport(RegistrySettings(), environment={})
    with pytest.raises(InvalidArgument, match=r"cannot use the certificate authority .*bad\.crt"):
        transport.request(endpoint, "GET", "/v2/")
    pair = (str(tmp_path / "none.cert"), str(tmp_path / "none.key"))
    with pytest.raises(InvalidArgument, match=r"cannot use the client certificate .*none\.cert"):
        transport.request(endpoint._replace(ca_files=(), client_certificates=(pair,)), "GET", "/v2/")


def test_a_key_with_a_password_does_not_ask_on_the_terminal(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    locked = str(tmp_path / "locked.key")
    command = ["openssl", "ec", "-in", tls.key, "-aes128", "-passout", "pass:word", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    endpoint = Endpoint("https://127.0.0.1:1", "x", client_certificates=((tls.certificate, locked),))
    transport = Transport(RegistrySettings(), environment={})
    with pytest.raises(InvalidArgument, match="asks for a password"):
        transport.request(endpoint, "GET", "/v2/")


def test_after_close_nothing_is_asked() -> None:
    with Hostile() as server:
        server.on("GET", ".*", Answer(200))
        transport = Transport(RegistrySettings(), environment={})
        transport.request(Endpoint(server.url, server.host), "GET", "/v2/").close()
        transport.close()
        transport.close()
        with pytest.raises(TransferError, match="broken off from here"):
            transport.request(Endpoint(server.url, server.host), "GET", "/v2/")
        assert len(server.seen) == 1


def test_a_mirror_may_lie_under_a_path() -> None:
    with Hostile() as server, Hostile() as home:
        server.on("GET", "/cache/v2/a/manifests/1", manifest_answer(manifest_of()))
        settings = RegistrySettings(mirrors={home.host: (f"{server.url}/cache/",)})
        with client_of(settings=settings) as client:
            assert client.repository(f"{home.host}/a").manifest("1").data == manifest_of()
        assert not home.seen


def test_urllib3_is_loaded_with_the_first_request_alone() -> None:
    program = (
        "import sys, tiffin.registry.client; from tiffin.config import RegistrySettings\n"
        "from tiffin.registry.credentials import Credentials\n"
        "client = tiffin.registry.client.Registry(RegistrySettings(), Credentials('/none'))\n"
        "client.repository('docker.io/library/alpine')\n"
        "print(*[name for name in ('urllib3', 'ssl', 'http.client', 'socket') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
