import pytest

from tiffin.errors import Corrupt, LimitExceeded
from tiffin.oci.image import (
    History,
    chain_ids,
    check_config,
    diff_ids,
    empty_config,
    extend_config,
    format_time,
    parse_time,
)
from tiffin.oci.platform import Platform

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_a_layer_and_a_setting_extend_a_config_and_leave_the_base_alone() -> None:
    base = empty_config(Platform("linux", "amd64"))
    first = extend_config(base, History("2020-01-01T00:00:00Z", "RUN x"), A)
    second = extend_config(first, History(created_by="ENV a=b"), changed={"Env": ["a=b"]})
    assert diff_ids(base) == ()
    assert diff_ids(first) == diff_ids(second) == (A,)
    assert second["config"] == {"Env": ["a=b"]}
    assert second["created"] == "2020-01-01T00:00:00Z"
    assert [entry.get("empty_layer", False) for entry in second["history"]] == [False, True]


def test_the_chain_of_one_layer_is_that_layer() -> None:
    assert chain_ids((A,)) == [A]
    # printf '%s %s' $A $B | sha256sum
    assert chain_ids((A, B))[1] == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("2021-03-04T05:06:07.123456789Z", 1614834367123456789),
        ("2021-03-04T06:06:07.5+01:00", 1614834367500000000),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        ("2021-13-04T05:06:07Z", 0),
        (None, 0),
    ],
)
def test_times_are_nanoseconds(text: object, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds
    assert parse_time(format_time(nanoseconds)) == nanoseconds


GOOD = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [A]}}


@pytest.mark.parametrize(
    "change",
    [
        {"rootfs": None},
        {"rootfs": {"diff_ids": "x"}},
        {"rootfs": {"diff_ids": ["sha256:../x"]}},
        {"rootfs": {"diff_ids": [7]}},
        {"os": 3},
        {"history": [1]},
        {"config": []},
        {"config": {"Env": "PATH=/"}},
        {"config": {"Cmd": [1]}},
        {"config": {"Volumes": ["/x"]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"User": 0}},
    ],
)
def test_a_malformed_config_is_refused(change: dict[str, object]) -> None:
    check_config(dict(GOOD))
    with pytest.raises(Corrupt):
        check_config(GOOD | change)


def test_null_members_are_absent_members() -> None:
    empty = {"Env": None, "Cmd": None, "Entrypoint": None, "Volumes": None, "Labels": None, "User": None}
    check_config(GOOD | {"config": empty, "history": None})
    check_config(GOOD | {"config": None, "rootfs": {"type": "layers", "diff_ids": None}})


def test_the_number_of_layers_is_bounded() -> None:
    with pytest.raises(LimitExceeded):
        check_config(GOOD | {"rootfs": {"type": "layers", "diff_ids": [A] * 501}})
