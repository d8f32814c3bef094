from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tiffin.network import files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's files, as `resolv.conf` and `systemd` below the directory returned."""
    monkeypatch.setattr(files, "_RESOLV", str(tmp_path / "resolv.conf"))
    monkeypatch.setattr(files, "_SYSTEMD_RESOLV", str(tmp_path / "systemd"))
    return tmp_path


def test_hosts_names_the_container_at_its_address() -> None:
    text = files.hosts("10.210.0.2", ["web", "abc123", "web"], [("db", "10.1.1.1")])
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ")
    assert text.endswith("10.1.1.1\tdb\n10.210.0.2\tweb abc123\n")


def test_hosts_without_an_address_has_the_loopback_alone() -> None:
    assert "web" not in files.hosts("", ["web"])


def test_the_hosts_servers_search_and_options_are_taken(host: Path) -> None:
    (host / "resolv.conf").write_text(
        "# c\n; d\nsearch a.example b.example\nnameserver 192.0.2.53\noptions ndots:2\n"
    )
    assert files.resolv_conf() == "search a.example b.example\noptions ndots:2\nnameserver 192.0.2.53\n"


def test_loopback_ipv6_and_malformed_servers_are_left_out(host: Path) -> None:
    (host / "resolv.conf").write_text(
        "nameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver\nnameserver 1.2.3\n"
        "nameserver 192.0.2.1\nnameserver 192.0.2.1\n"
    )
    assert files.resolv_conf() == "nameserver 192.0.2.1\n"
    assert files.host_nameservers() == ["192.0.2.1"]


def test_behind_systemd_resolved_its_own_servers_are_taken(host: Path) -> None:
    (host / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
    (host / "systemd").write_text("nameserver 192.0.2.7\nsearch lan\n")
    assert files.resolv_conf() == "search lan\nnameserver 192.0.2.7\n"


@pytest.mark.parametrize("text", [None, "", "nameserver 127.0.0.1\n", "\0\xff"])
def test_without_a_reachable_server_the_file_says_so(host: Path, text: str | None) -> None:
    if text is not None:
        (host / "resolv.conf").write_text(text)
    assert "--dns" in files.resolv_conf()
    assert "nameserver" not in files.resolv_conf()


def test_given_values_take_the_place_of_the_hosts(host: Path) -> None:
    (host / "resolv.conf").write_text("search a.example\ndomain x\nnameserver 192.0.2.53\noptions ndots:2\n")
    text = files.resolv_conf(servers=["192.0.2.9"], search=["b.example"], options=["rotate"])
    assert text == "search b.example\nnameserver 192.0.2.9\noptions rotate\n"
    assert "search" not in files.resolv_conf(search=["."])


def test_a_huge_or_odd_host_file_does_no_harm(host: Path) -> None:
    (host / "resolv.conf").write_text("nameserver 192.0.2.1\n" + "# x\n" * 1_000_000)
    assert files.host_nameservers() == ["192.0.2.1"]
    (host / "resolv.conf").unlink()
    (host / "resolv.conf").mkdir()
    assert files.host_nameservers() == []
