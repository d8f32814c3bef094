"""config.json checked without a container: shapes, defaults, options, mappings; and the command line's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.suites.bundle import BASE
from tiffin.cli.oci.table import COMMANDS, GLOBAL
from tiffin.cli.oci.words import read_words
from tiffin.cli.output import UsageError
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.kernel.mounts import MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY
from tiffin.runtime.extras.idmap import host_id, mappings_of
from tiffin.runtime.extras.options import known_words, parse_tree_options
from tiffin.runtime.extras.placement import parse_ids
from tiffin.runtime.lifecycle import document as documents
from tiffin.runtime.lifecycle.shapes import DOCUMENT, Map, check
from tiffin.runtime.seccomp import read_profile
from tiffin.runtime.seccomp.profile import resolve, specification

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _paths(shape: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [at] if at else []
    if isinstance(shape, dict):
        for key, inner in shape.items():
            found += _paths(inner, (*at, key.rstrip("!")))
    elif isinstance(shape, list):
        found += _paths(shape[0], (*at, "[]"))
    elif isinstance(shape, Map):
        found += _paths(shape.shape, (*at, "{}"))
    return found


_PLACES = _paths(DOCUMENT)


def _put(document: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    at: Any = document
    for key, after in zip(place, (*place[1:], None), strict=True):
        empty: Any = value if after is None else [] if after == "[]" else {}
        if key == "[]":
            at.append(empty)
            at = at[-1]
        else:
            name = "key" if key == "{}" else key
            if after is None or not isinstance(at.get(name), type(empty)):
                at[name] = empty
            at = at[name]


@given(st.sampled_from(_PLACES), _JSON)
def test_whatever_stands_anywhere_in_a_document_is_taken_or_refused_by_name(
    place: tuple[str, ...], value: Any
) -> None:
    document = copy.deepcopy(BASE)
    _put(document, place, value)
    try:
        documents.check_document(document)
        documents.specification(document, [])
        documents.cgroup_path(document, "id")
    except TiffinError as error:
        assert len(str(error).splitlines()) <= 1 or "\n" in str(value)


def test_the_base_of_all_tests_is_valid() -> None:
    check(BASE, DOCUMENT, "config.json")
    documents.check_document(BASE)


def test_what_only_the_engine_may_say_is_left_out() -> None:
    document = copy.deepcopy(BASE)
    document["process"] |= {"init": True, "user": {"uid": 1, "gid": 2, "username": "root", "groups": ["0"]}}
    document["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "profile": "/etc/shadow",
        "archMap": [],
    }
    spec = documents.specification(document, [])
    assert "init" not in spec["process"] and spec["process"]["user"] == {"uid": 1, "gid": 2}
    assert set(spec["linux"]["seccomp"]) == {"defaultAction", "syscalls"}


def test_mounts_get_their_defaults() -> None:
    document = copy.deepcopy(BASE)
    document["mounts"] = [
        {"destination": "a", "source": "/x", "options": ["rbind"]},
        {"destination": "/b", "type": "bind", "source": "/x"},
    ]
    first, second = documents.specification(document, [])["mounts"]
    assert (first["destination"], first["type"]) == ("/a", "bind") and second["options"] == ["bind"]
    document["mounts"] = [{"destination": "/a", "source": "/x"}]
    with pytest.raises(InvalidArgument, match="needs a type"):
        documents.specification(document, [])


def test_default_devices_stay_usable_where_devices_are_restricted() -> None:
    assert documents.with_default_devices({}) == {}
    rules = documents.with_default_devices({"devices": [{"allow": False, "access": "rwm"}]})["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules


def test_of_rules_that_decide_a_call_alone_the_first_counts() -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["read", "read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["read", "write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {"names": ["read"], "action": "SCMP_ACT_ERRNO"},
        ],
    }
    made = documents.filter_of(seccomp)
    assert made is not None and [rule["names"] for rule in made["syscalls"]] == [["read"], ["write"]]


@pytest.mark.parametrize(
    ("given_path", "path"),
    [("", "tiffin-runtime/id"), ("/a/b", "a/b"), ("a//b/.", "a/b"), ("x.slice/y", "x.slice/y")],
)
def test_cgroup_paths_are_below_the_mount(given_path: str, path: str) -> None:
    assert documents.cgroup_path({"linux": {"cgroupsPath": given_path}}, "id") == path


@pytest.mark.parametrize("path", ["/", "..", "/a/../b", "a\nb", "system.slice:docker:id"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        documents.cgroup_path({"linux": {"cgroupsPath": path}}, "id")


def test_options_of_a_tree_and_of_one_mount_are_told_apart() -> None:
    found = parse_tree_options(["rbind", "ro", "rnodev", "sync", "ridmap", "tmpcopyup"], "")
    assert (found.bind, found.idmap, found.copy_up) == (True, "ridmap", True)
    assert found.one.set == MOUNT_ATTR_RDONLY and not found.one.recursive_readonly and not found.one.data
    assert (found.set, found.clear) == (MOUNT_ATTR_NODEV, 0)
    later = parse_tree_options(["rro", "rrw", "size=1m", "sync"], "tmpfs")
    assert (later.set, later.clear, later.one.data) == (
        0,
        MOUNT_ATTR_RDONLY,
        (("size", "1m"), ("sync", None)),
    )
    assert {"rro", "ro", "rbind", "idmap"} <= set(known_words())


def _mapping(*ranges: tuple[int, int, int]) -> dict[str, Any]:
    entries = [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ranges]
    return {"uidMappings": entries, "gidMappings": entries}


def test_ids_map_within_their_ranges() -> None:
    mappings = mappings_of(_mapping((0, 1000, 10), (10, 5000, 1)), "linux")
    assert mappings is not None
    assert [host_id(mappings.uid, number) for number in (0, 9, 10, 11)] == [1000, 1009, 5000, -1]
    assert mappings_of({}, "linux") is None


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 0, 0)],
        [(0, 0, 5), (4, 100, 1)],
        [(0, 0, 5), (5, 4, 1)],
        [(0, 1 << 31, 1 << 31)],
        [(0, 0, 1)] * 400,
    ],
)
def test_ranges_that_overlap_or_overflow_are_refused(ranges: list[tuple[int, int, int]]) -> None:
    with pytest.raises(InvalidArgument):
        mappings_of(_mapping(*ranges), "linux")


def test_lists_of_numbers() -> None:
    assert parse_ids("0-2, 7", "cpus") == {0, 1, 2, 7}
    for text in ("2-1", "x", "1-", "-1", "99999999999", "0-70000"):
        with pytest.raises(InvalidArgument):
            parse_ids(text, "cpus")


@given(st.lists(st.text(alphabet="-=abcdr nspvf01", max_size=12), max_size=6), st.sampled_from(COMMANDS))
def test_any_words_are_read_or_refused(words: list[str], command: Any) -> None:
    for flags in (command.flags, GLOBAL):
        try:
            assert isinstance(read_words(words, flags, "x").operands, list)
        except UsageError as error:
            assert error.exit_code == 1


def test_the_default_profile_speaks_the_specifications_language() -> None:
    document = copy.deepcopy(BASE)
    made = specification(read_profile(), frozenset(("CAP_SYS_ADMIN",)))
    document["linux"]["seccomp"] = made
    documents.check_document(document)
    names = {name for rule in made["syscalls"] for name in rule["names"]}
    assert "mount" in names and "read" in names
    assert "mount" not in {
        n
        for r in specification(read_profile(), frozenset())["syscalls"]
        if r["action"] == "SCMP_ACT_ALLOW"
        for n in r["names"]
    }
    import json

    assert resolve(json.dumps(made).encode(), "x86_64", frozenset(), (6, 1))
