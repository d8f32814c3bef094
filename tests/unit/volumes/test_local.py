"""The local driver's options as mount(2) gets them. Where the kernel is entered, a list stands in for it: this is where
NFS is tested, which needs a server and a kernel that has the client."""

from __future__ import annotations

import errno

import pytest

from tiffin.errors import InvalidArgument, NotFound, TiffinError, Unsupported
from tiffin.kernel import mounts
from tiffin.volumes import local

Call = tuple[str | None, str, str | None, int, str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What mount(2) was told, but for the propagation that each mount is then given."""
    made: list[Call] = []

    def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str = "") -> None:
        if not flags & mounts.MS_PRIVATE:
            made.append((source, target, fstype, flags, data))

    monkeypatch.setattr(mounts, "mount", mount)
    return made


@pytest.mark.parametrize(
    ("options", "flags", "data"),
    [
        ({"device": ":/export", "o": "addr=10.0.0.7,rw,nfsvers=4"}, 0, "nfsvers=4,addr=10.0.0.7"),
        ({"device": ":/export", "o": "addr=10.0.0.7"}, 0, "addr=10.0.0.7"),
        ({"device": "10.0.0.7:/export"}, 0, "addr=10.0.0.7"),
        ({"device": "[fd00::7]:/export", "o": "vers=4.2"}, 0, "vers=4.2,addr=fd00::7"),
        ({"device": ":/e", "o": "addr=fd00::7,ro"}, mounts.MS_RDONLY, "addr=fd00::7"),
        (
            {"device": ":/e", "o": "soft,ro,noexec,addr=10.0.0.7,timeo=30,noatime"},
            mounts.MS_RDONLY | mounts.MS_NOEXEC | mounts.MS_NOATIME,
            "soft,timeo=30,addr=10.0.0.7",
        ),
        ({"device": ":/e", "o": "ro,addr=10.0.0.7,rw,nosuid,suid"}, 0, "addr=10.0.0.7"),
    ],
)
@pytest.mark.parametrize("kind", ["nfs", "nfs4"])
def test_nfs_is_mounted_with_the_servers_address(
    calls: list[Call], kind: str, options: dict[str, str], flags: int, data: str
) -> None:
    local.attach("far", {"type": kind, **options}, "/place")
    assert calls == [(options["device"], "/place", kind, flags, data)]


@pytest.mark.parametrize("options", [{"device": "localhost:/e"}, {"device": ":/e", "o": "addr=localhost"}])
def test_a_servers_name_is_looked_up_for_the_kernel(calls: list[Call], options: dict[str, str]) -> None:
    local.attach("far", {"type": "nfs", **options}, "/place")
    ((_, _, _, _, data),) = calls
    assert data in ("addr=127.0.0.1", "addr=::1")


def test_a_name_that_nobody_has_and_none_at_all_are_refused_before_the_kernel(calls: list[Call]) -> None:
    with pytest.raises(NotFound, match=r"cannot find the nfs server nobody\.invalid"):
        local.attach("far", {"type": "nfs", "device": ":/e", "o": "addr=nobody.invalid"}, "/place")
    with pytest.raises(InvalidArgument, match="no server for the nfs device :/e; add o=addr=HOST"):
        local.attach("far", {"type": "nfs", "device": ":/e"}, "/place")
    assert calls == []


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.ENODEV, Unsupported, "this kernel has no filesystem nfs; load it with: modprobe nfs"),
        (errno.ENOENT, NotFound, "no such file or directory: make the device"),
        (errno.ETIMEDOUT, TiffinError, "connection timed out"),
    ],
)
def test_what_the_kernel_refuses_is_told_with_what_it_was_asked(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[TiffinError], text: str
) -> None:
    def mount(*_: object) -> None:
        import os

        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(mounts, "mount", mount)
    with pytest.raises(kind) as caught:
        local.attach("far", {"type": "nfs", "device": ":/e", "o": "addr=10.0.0.7"}, "/place")
    assert str(caught.value).startswith("cannot mount volume far (type=nfs, device=:/e, o=addr=10.0.0.7): ")
    assert text in str(caught.value)
