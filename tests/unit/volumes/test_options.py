from __future__ import annotations

import pytest

from tiffin.errors import Conflict, InvalidArgument
from tiffin.volumes import MountRequest, check_targets, parse_mount, parse_tmpfs, parse_volume

PRIVATE = ("rbind", "rprivate")
MEMORY = ("noexec", "nosuid", "nodev")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/c", MountRequest("volume", "", "/c", PRIVATE, copy=True)),
        ("data:/c", MountRequest("volume", "data", "/c", PRIVATE, copy=True)),
        ("data:/c:ro", MountRequest("volume", "data", "/c", (*PRIVATE, "ro"), copy=True)),
        ("data:/c:ro,nocopy", MountRequest("volume", "data", "/c", (*PRIVATE, "ro"))),
        ("data:/c:Z", MountRequest("volume", "data", "/c", PRIVATE, copy=True, relabel="Z")),
        ("/h:/c", MountRequest("bind", "/h", "/c", PRIVATE, copy=True, make_source=True)),
        ("/h/../x/:/c//d/./e/", MountRequest("bind", "/x", "/c/d/e", PRIVATE, copy=True, make_source=True)),
        (
            "./h:/c:rshared,rw",
            MountRequest("bind", "/w/h", "/c", ("rbind", "rshared"), copy=True, make_source=True),
        ),
        (".:/c", MountRequest("bind", "/w", "/c", PRIVATE, copy=True, make_source=True)),
        ("//h://c", MountRequest("bind", "/h", "/c", PRIVATE, copy=True, make_source=True)),
        (
            "/h:/c:ro,idmap",
            MountRequest("bind", "/h", "/c", (*PRIVATE, "ro"), make_source=True, idmap="idmap"),
        ),
        ("data:/c:volume-nocopy", MountRequest("volume", "data", "/c", PRIVATE)),
        ("/h:/c:cached", MountRequest("bind", "/h", "/c", PRIVATE, copy=True, make_source=True)),
    ],
)
def test_volumes_as_docker_writes_them(text: str, expected: MountRequest) -> None:
    if expected.type == "bind":
        expected = expected._replace(copy=False)
    assert parse_volume(text, "/w")._replace(origin="", given="") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        ("a:b", "invalid mount path: 'b' mount path must be absolute"),
        ("relative", "invalid mount path: 'relative'"),
        ("/h:/", "destination can't be '/'"),
        ("/h:/x/..", "destination can't be '/'"),
        ("/h:/c:", "invalid volume"),
        (":/c", "invalid volume"),
        ("/h:/c:ro:z", "invalid volume"),
        ("/c:ro", "options need a source"),
        ("/h:/c:r0", "invalid mode: r0 .*; use one of ro, rw"),
        ("/h:/c:nocpy", "did you mean nocopy"),
        ("/h:/c:ro,rw", "conflicting options"),
        ("/h:/c:z,Z", "conflicting options"),
        ("/h:/c:shared,slave", "conflicting options"),
        ("/h:/c:nocopy", "nocopy .* is for volumes"),
        ("/h:/c:idmap,idmap", "idmap is given twice"),
        ("/h:/c:idmap=uids=0", "invalid idmap range"),
        ("data:/c:shared", "shared .* is for host paths"),
        ("a:/c", "includes invalid characters for a local volume name"),
        ("da ta:/c", "includes invalid characters"),
        ("-data:/c", "includes invalid characters"),
        ("data\n:/c", "includes invalid characters"),
        ("x" * 256 + ":/c", "too long"),
        ("/h:/c\0d", "no NUL"),
        ("/h:/" + "x" * 5000, "4095 bytes"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_volume(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/c", MountRequest("volume", "", "/c", PRIVATE, copy=True)),
        ("type=volume,src=data,dst=/c,ro", MountRequest("volume", "data", "/c", (*PRIVATE, "ro"), copy=True)),
        ("source=data,target=/c,volume-nocopy", MountRequest("volume", "data", "/c", PRIVATE)),
        (
            "source=data,target=/c,volume-nocopy=false",
            MountRequest("volume", "data", "/c", PRIVATE, copy=True),
        ),
        ("type=bind,source=/h,destination=/c", MountRequest("bind", "/h", "/c", PRIVATE)),
        ("type=bind,src=/h,dst=/c,readonly=1", MountRequest("bind", "/h", "/c", (*PRIVATE, "ro"))),
        (
            "type=bind,src=/h,dst=/c,bind-propagation=rslave,bind-recursive=disabled",
            MountRequest("bind", "/h", "/c", ("bind", "rslave")),
        ),
        (
            "type=bind,src=/h,dst=/c,ro,bind-recursive=writable",
            MountRequest("bind", "/h", "/c", (*PRIVATE, "ro", "ro-nonrecursive")),
        ),
        (
            "type=bind,src=/h,dst=/c,ro,bind-recursive=readonly",
            MountRequest("bind", "/h", "/c", (*PRIVATE, "ro", "rro")),
        ),
        ("type=bind,src=/h,dst=/c,bind-nonrecursive", MountRequest("bind", "/h", "/c", ("bind", "rprivate"))),
        (
            "type=bind,src=/h,dst=/c,bind-create-src",
            MountRequest("bind", "/h", "/c", PRIVATE, make_source=True),
        ),
        ("type=bind,src=/h,dst=/c,idmap", MountRequest("bind", "/h", "/c", PRIVATE, idmap="idmap")),
        (
            "type=bind,src=/h,dst=/c,idmap=uids=1000-0-1;gids=1000-0-1",
            MountRequest("bind", "/h", "/c", PRIVATE, idmap="uids=1000-0-1;gids=1000-0-1"),
        ),
        (
            'src=data,dst=/c,volume-subpath=a/b,volume-label=x=1,volume-label=y,volume-opt=type=tmpfs,"volume-opt=o=a,b"',
            MountRequest(
                "volume",
                "data",
                "/c",
                PRIVATE,
                subpath="a/b",
                volume_options=(("type", "tmpfs"), ("o", "a,b")),
                labels=(("x", "1"), ("y", "")),
            ),
        ),
        (
            "type=image,source=debian:12,target=/c,image-subpath=usr",
            MountRequest(
                "image", "debian:12", "/c", ("bind", "rprivate", "ro", "nosuid", "nodev"), subpath="usr"
            ),
        ),
        ('type=bind,"source=/a,b",target=/c', MountRequest("bind", "/a,b", "/c", PRIVATE)),
        ('type=bind,"source=/a""b",target=/c', MountRequest("bind", '/a"b', "/c", PRIVATE)),
        (
            "type=tmpfs,target=/c,tmpfs-size=64M,tmpfs-mode=1770",
            MountRequest("tmpfs", "", "/c", (*MEMORY, "size=64m", "mode=1770")),
        ),
    ],
)
def test_mounts_as_docker_writes_them(text: str, expected: MountRequest) -> None:
    assert parse_mount(text)._replace(origin="", given="") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid field '' must be a key=value pair"),
        ("type=bind,source=/h", "target is required"),
        ("tpye=bind,target=/c", "unexpected key 'tpye' in 'tpye=bind'; did you mean type"),
        ("type=bnd,target=/c", 'config for type "bnd": mount type unknown; did you mean bind'),
        ("type=npipe,target=/c", 'config for type "npipe": mount type unknown'),
        ("type=bind,target=/c", "field Source must not be empty"),
        ("type=bind,source=h,target=/c", "mount path must be absolute"),
        ("type=tmpfs,source=/h,target=/c", "field Source must not be specified"),
        (
            "type=bind,source=/h,target=/c,volume-nocopy",
            "cannot mix 'volume-\\*' options with mount type 'bind'",
        ),
        ("target=/c,target=/d", "target is given twice"),
        ("src=aa,source=bb,target=/d", "source is given twice"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("target=/c,ro=maybe", "invalid value for readonly: maybe"),
        ("type=bind,source=/h,target=/c,bind-propagation=pirvate", "did you mean r?private"),
        ("type=bind,source=/h,target=/c,bind-recursive=no", "invalid value for bind-recursive: no"),
        ("type=tmpfs,target=/c,tmpfs-size=64x", "invalid size"),
        ("type=tmpfs,target=/c,tmpfs-mode=9", "invalid mode"),
        ("type=tmpfs,target=/", "destination can't be '/'"),
        ("source=a b,target=/c", "includes invalid characters"),
        ('"target=/c', "quote is not closed"),
        ("target=/c,consistency=none", "invalid consistency"),
        (
            "type=bind,source=/h,target=/c,bind-recursive=readonly",
            "requires 'readonly' to be specified in conj",
        ),
        (
            "type=bind,source=/h,target=/c,bind-recursive=writable",
            "requires 'readonly' to be specified in conj",
        ),
        (
            "type=bind,src=/h,dst=/c,ro,bind-recursive=readonly,bind-propagation=rslave",
            "bind-propagation=rprivate",
        ),
        ("type=image,target=/c", "field Source must not be empty"),
        ("type=image,source=x,target=/c,idmap", "idmap does not go with mount type 'image'"),
        ("source=data,target=/c,volume-subpath=../x", "must be a relative path"),
        ("source=data,target=/c,volume-subpath=/x", "must be a relative path"),
        ("source=data,target=/c,idmap=uids=0-1", "want DISK-CONTAINER-SIZE"),
        ("source=data,target=/c,idmap=uids=0-1-0", "empty or too large"),
        ("source=data,target=/c,idmap=uids=0-1-5#3-9-2", "overlap at 3"),
        ("source=data,target=/c,idmap=ids=0-1-5", "invalid idmap"),
    ],
)
def test_what_is_no_mount_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_mount(text)


def test_a_driver_is_taken_as_it_is_named() -> None:
    assert parse_mount("target=/c,volume-driver=x").driver == "x"
    assert parse_mount("target=/c").driver == "", "the one that the volume has"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run", "invalid mount path: 'run'"),
        ("/run:sizee=1m", "unknown option 'sizee=1m'.*did you mean size"),
        ("/run:noexce", "did you mean noexec"),
        ("/run:size", "unknown option 'size'"),
        ("/run:size=", "invalid size"),
        ("/run:size=1m\n", "invalid size"),
        ("/run:uid=root", "invalid uid"),
        ("/run:mode=0888", "invalid mode"),
        ("/run:ro=1", "unknown option"),
    ],
)
def test_what_is_no_tmpfs_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_tmpfs(text)


def test_two_mounts_at_one_place_are_refused_as_docker_words_it() -> None:
    with pytest.raises(Conflict, match=r"^Duplicate mount point: /c$"):
        check_targets([parse_volume("/c"), parse_tmpfs("/c/")])
    check_targets([parse_volume("/c"), parse_tmpfs("/c/d")])
