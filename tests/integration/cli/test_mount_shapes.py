"""What `inspect` says of mounts: Docker's shapes, by the real one where it is there."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.command import Tiffin
from tests.images import busybox_tar
from tests.integration.peers import Docker, docker  # noqa: F401 - a fixture

pytestmark = pytest.mark.root
OPTIONS = (
    "-v", "/srv:/a:rprivate", "-v", "/srv:/b:ro,rslave", "-v", "one:/c", "-v", "one:/d:ro", "-v", "two:/e:nocopy",
    "-v", "/nameless", "--tmpfs", "/l:size=1m,exec", "--tmpfs", "/m",
    "--mount", "type=bind,src=/srv,dst=/f,ro,bind-propagation=rslave",
    "--mount", "type=bind,src=/srv,dst=/g,bind-propagation=private,bind-recursive=disabled",
    "--mount", "src=three,dst=/h,volume-nocopy,volume-label=x=y,volume-opt=type=tmpfs,volume-opt=device=tmpfs",
    "--mount", "src=one,dst=/h2,ro", "--mount", "dst=/i",
    "--mount", "type=tmpfs,dst=/j,tmpfs-size=1m,tmpfs-mode=1770", "--mount", "type=tmpfs,dst=/k",
)  # fmt: skip
MOUNTS = [
    {"Type": "bind", "Source": "/srv", "Target": "/f", "ReadOnly": True, "BindOptions": {"Propagation": "rslave"}},
    {
        "Type": "bind", "Source": "/srv", "Target": "/g",
        "BindOptions": {"Propagation": "private", "NonRecursive": True},
    },
    {
        "Type": "volume", "Source": "three", "Target": "/h",
        "VolumeOptions": {
            "NoCopy": True, "Labels": {"x": "y"}, "DriverConfig": {"Options": {"type": "tmpfs", "device": "tmpfs"}},
        },
    },
    {"Type": "volume", "Source": "one", "Target": "/h2", "ReadOnly": True},
    {"Type": "volume", "Target": "/i"},
    {"Type": "tmpfs", "Target": "/j", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}},
    {"Type": "tmpfs", "Target": "/k"},
]  # fmt: skip


def shape(document: dict[str, Any]) -> dict[str, Any]:
    """What both must have alike: names that were drawn and places in a store are left out."""
    mounts = sorted(document["Mounts"], key=lambda mount: str(mount["Destination"]))
    for mount in mounts:
        if mount["Type"] == "volume":
            mount["Source"] = mount["Source"].rpartition("/")[2]
            mount["Name"] = mount["Name"] if len(mount["Name"]) < 64 else "drawn"
    host = document["HostConfig"]
    return {
        "Binds": sorted(host["Binds"]),
        "Mounts": host["Mounts"],
        "Tmpfs": host["Tmpfs"],
        "VolumeDriver": host["VolumeDriver"],
        "Volumes": document["Config"]["Volumes"],
        "mounted": mounts,
    }


def created(tiffin: Tiffin, *words: str) -> dict[str, Any]:
    tiffin.ok("create", "--name", "one", *words, "busybox", "true")
    (document,) = json.loads(tiffin.ok("inspect", "one"))
    return dict(document)


def test_what_was_asked_for_and_what_is_mounted_are_shown(tiffin: Tiffin) -> None:
    shown = shape(created(tiffin, *OPTIONS))
    assert shown["Binds"] == [
        "/srv:/a:rprivate", "/srv:/b:ro,rslave", "one:/c", "one:/d:ro", "two:/e:nocopy",
    ]  # fmt: skip
    assert shown["Mounts"] == MOUNTS
    assert shown["Tmpfs"] == {"/l": "size=1m,exec", "/m": ""} and shown["Volumes"] == {"/nameless": {}}
    by_place = {mount["Destination"]: mount for mount in shown["mounted"]}
    assert "/l" not in by_place and by_place["/k"]["Type"] == "tmpfs"
    assert by_place["/b"] == {
        "Type": "bind", "Source": "/srv", "Destination": "/b", "Mode": "ro,rslave", "RW": False,
        "Propagation": "rslave",
    }  # fmt: skip
    assert [by_place[place]["Mode"] for place in ("/a", "/c", "/d", "/e", "/h2", "/i", "/nameless")] == [
        "rprivate", "z", "ro", "nocopy", "z", "z", "",
    ]  # fmt: skip


def test_options_newer_than_the_peer_have_dockers_names(tiffin: Tiffin) -> None:
    words = (
        "--mount", "type=bind,src=/srv,dst=/a,ro,bind-recursive=writable",
        "--mount", "type=bind,src=/srv,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate",
        "--mount", "type=bind,src=/srv,dst=/c,bind-create-src",
        "--mount", "src=one,dst=/d,volume-subpath=x/y", "--mount", "type=image,src=busybox,dst=/e,image-subpath=bin",
    )  # fmt: skip
    assert created(tiffin, *words)["HostConfig"]["Mounts"] == [
        {
            "Type": "bind", "Source": "/srv", "Target": "/a", "ReadOnly": True,
            "BindOptions": {"ReadOnlyNonRecursive": True},
        },
        {
            "Type": "bind", "Source": "/srv", "Target": "/b", "ReadOnly": True,
            "BindOptions": {"Propagation": "rprivate", "ReadOnlyForceRecursive": True},
        },
        {"Type": "bind", "Source": "/srv", "Target": "/c", "BindOptions": {"CreateMountpoint": True}},
        {"Type": "volume", "Source": "one", "Target": "/d", "VolumeOptions": {"Subpath": "x/y"}},
        {"Type": "image", "Source": "busybox", "Target": "/e", "ImageOptions": {"Subpath": "bin"}},
    ]  # fmt: skip


def test_what_is_taken_over_is_mounted_and_was_not_asked_for(tiffin: Tiffin) -> None:
    tiffin.ok("create", "--name", "owner", "-v", "data:/d", "-v", "/srv:/s", "busybox", "true")
    document = created(tiffin, "--volumes-from", "owner:ro")
    assert document["HostConfig"]["Binds"] is None and "Mounts" not in document["HostConfig"]
    assert document["HostConfig"]["VolumesFrom"] == ["owner:ro"]
    shown = [(mount["Destination"], mount["RW"], mount["Mode"]) for mount in document["Mounts"]]
    assert shown == [("/d", False, ""), ("/s", False, "")]


@pytest.fixture
def theirs(docker: Docker) -> Iterator[dict[str, Any]]:  # noqa: F811
    docker("import", str(busybox_tar()), "shapes")
    docker("create", "--name", "shapes", *OPTIONS, "shapes", "true")
    (document,) = json.loads(docker("inspect", "shapes"))
    yield document
    docker("rm", "-fv", "shapes")
    docker("volume", "rm", "one", "two", "three")
    docker("rmi", "shapes")


@pytest.mark.peer
def test_they_are_dockers(tiffin: Tiffin, theirs: dict[str, Any]) -> None:
    assert shape(created(tiffin, *OPTIONS)) == shape(theirs)
