from __future__ import annotations

import pytest

from tiffin.errors import Conflict, InvalidArgument, Unsupported
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
        ("/h:/c:cached", MountRequest("bind", "/h", "/c", PRIVATE, copy=True, make_source=True)),
    ],
)
def test_volumes_as_docker_writes_them(text: str, expected: MountRequest) -> None:
    if expected.type == "bind":
        expected = expected._replace(copy=False)
    assert parse_volume(text, "/w") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume ''"),
        ("a:b", "invalid target 'b'"),
        ("relative", "invalid target 'relative'"),
        ("/h:/", "the root directory is the image's"),
        ("/h:/x/..", "the root directory is the image's"),
        ("/h:/c:", "invalid volume"),
        (":/c", "invalid volume"),
        ("/h:/c:ro:z", "invalid volume"),
        ("/c:ro", "options need a source"),
        ("/h:/c:r0", "unknown option 'r0'.*; use one of ro, rw"),
        ("/h:/c:nocpy", "did you mean nocopy"),
        ("/h:/c:ro,rw", "conflicting options"),
        ("/h:/c:z,Z", "conflicting options"),
        ("/h:/c:shared,slave", "conflicting options"),
        ("/h:/c:nocopy", "nocopy .* is for volumes"),
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
        ('type=bind,"source=/a,b",target=/c', MountRequest("bind", "/a,b", "/c", PRIVATE)),
        ('type=bind,"source=/a""b",target=/c', MountRequest("bind", '/a"b', "/c", PRIVATE)),
        (
            "type=tmpfs,target=/c,tmpfs-size=64M,tmpfs-mode=1770",
            MountRequest("tmpfs", "", "/c", (*MEMORY, "size=64m", "mode=1770")),
        ),
    ],
)
def test_mounts_as_docker_writes_them(text: str, expected: MountRequest) -> None:
    assert parse_mount(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown key ''"),
        ("type=bind,source=/h", "no target"),
        ("tpye=bind,target=/c", "unknown key 'tpye'.*did you mean type"),
        ("type=bnd,target=/c", "unknown type 'bnd'.*did you mean bind"),
        ("type=npipe,target=/c", "unknown type 'npipe'"),
        ("type=bind,target=/c", "no absolute path"),
        ("type=bind,source=h,target=/c", "no absolute path"),
        ("type=tmpfs,source=/h,target=/c", "source does not go with type=tmpfs"),
        ("type=bind,source=/h,target=/c,volume-nocopy", "volume-nocopy does not go with type=bind"),
        ("target=/c,target=/d", "target is given twice"),
        ("src=aa,source=bb,target=/d", "source is given twice"),
        ("target", "no value for target"),
        ("target=/c,ro=maybe", "invalid value 'maybe' for readonly"),
        ("type=bind,source=/h,target=/c,bind-propagation=pirvate", "did you mean r?private"),
        ("type=bind,source=/h,target=/c,bind-recursive=no", "invalid bind-recursive"),
        ("type=tmpfs,target=/c,tmpfs-size=64x", "invalid size"),
        ("type=tmpfs,target=/c,tmpfs-mode=9", "invalid mode"),
        ("type=tmpfs,target=/", "the root directory"),
        ("source=a b,target=/c", "includes invalid characters"),
        ('"target=/c', "quote is not closed"),
        ("target=/c,consistency=none", "invalid consistency"),
    ],
)
def test_what_is_no_mount_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_mount(text)


@pytest.mark.parametrize(
    "key", ["volume-driver=x", "volume-opt=a=b", "volume-subpath=a", "bind-nonrecursive"]
)
def test_dockers_keys_that_are_not_offered_are_said_to_be_so(key: str) -> None:
    with pytest.raises(Unsupported, match="is not supported"):
        parse_mount(f"target=/c,{key}")


def test_tmpfs_is_strict_unless_the_opposite_is_said() -> None:
    assert parse_tmpfs("/run") == MountRequest("tmpfs", "", "/run", MEMORY)
    assert parse_tmpfs("/run:rw,exec,size=65536k,mode=1777,uid=5") == MountRequest(
        "tmpfs", "", "/run", ("nosuid", "nodev", "rw", "exec", "size=65536k", "mode=1777", "uid=5")
    )
    assert parse_tmpfs("/run:nosuid,suid,ro,size=50%").options == (
        "noexec",
        "nodev",
        "suid",
        "ro",
        "size=50%",
    )
    assert parse_tmpfs("/run:size=1GB").options == (*MEMORY, "size=1g")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run", "invalid target 'run'"),
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
