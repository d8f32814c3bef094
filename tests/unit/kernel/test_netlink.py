"""Messages as bytes; what the kernel makes of them is shown in tests/integration/network."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.kernel import netlink


def test_attributes_are_padded_and_found_again() -> None:
    data = netlink.attribute(3, b"abcde") + netlink.nested(18, netlink.attribute(1, b"veth\0"))
    assert len(data) % 4 == 0
    found = netlink.parse_attributes(b"head" + data, 4)
    assert found[3] == b"abcde"
    assert netlink.parse_attributes(found[18])[1] == b"veth\0"


@given(st.binary(max_size=64))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        netlink.parse_attributes(data)
    except OSError as error:
        assert error.errno == errno.EPROTO


@pytest.mark.parametrize("data", [struct.pack("=HH", 3, 1), struct.pack("=HH", 9, 1) + b"abcd"])
def test_an_attribute_with_a_lying_length_is_refused(data: bytes) -> None:
    with pytest.raises(OSError, match="netlink attribute"):
        netlink.parse_attributes(data)


def test_the_loopback_is_there_and_other_names_are_not() -> None:
    with netlink.Socket() as host:
        lo = host.link("lo")
        assert lo is not None and lo.ifindex == 1 and lo.name == "lo"
        assert lo in host.links()
        assert host.link("no-such-link") is None


def test_a_refusal_names_the_object_and_gives_the_kernels_text() -> None:
    with netlink.Socket() as host:
        with pytest.raises(OSError) as caught:
            host.run(netlink.delete_link("no-such-link"))
        assert caught.value.errno in (errno.ENODEV, errno.EPERM)
        assert caught.value.filename == "no-such-link"
        with pytest.raises(OSError) as caught:
            host.run(netlink.set_link("a-name-longer-than-the-kernel-takes", up=True))
        assert "(" in str(caught.value.strerror)
        assert host.link("lo") is not None, "the socket stays usable"


def test_messages_of_other_processes_are_ignored() -> None:
    with netlink.Socket() as host:
        port = host._socket.getsockname()[0]
        forged = struct.pack("=IHHII", 20, 2, 0, 1, 0) + struct.pack("=i", -errno.EPERM)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink.NETLINK_ROUTE) as other:
            try:
                other.sendto(forged, (port, 0))
            except PermissionError:
                pytest.skip("this kernel lets no process write to another's rtnetlink socket")
        assert host.link("lo") is not None
