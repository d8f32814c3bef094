"""Stacks whose roots say something: overlayfs overlooks an opaque mark on the root of a lower layer."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.snapshot import A, B, C, put_layer
from tiffin.snapshot.overlay import Snapshots
from tiffin.state import locate, open_store

pytestmark = pytest.mark.root


@pytest.fixture
def snapshots(tmp_path: Path) -> Iterator[Snapshots]:
    store = open_store(locate(f"{tmp_path}/root", f"{tmp_path}/run"))
    yield Snapshots(store)
    store.close()


def test_nothing_below_an_opaque_root_is_stacked(snapshots: Snapshots) -> None:
    for diff_id in (A, B, C):
        put_layer(snapshots, diff_id, {diff_id[-1]: b""})
    os.setxattr(snapshots.layer_path(B), "trusted.overlay.opaque", b"y")
    lower = snapshots.root_mount([A, B, C]).lower
    assert lower == (snapshots.layer_path(C), snapshots.layer_path(B))


def test_mount_points_lie_below_everything(snapshots: Snapshots) -> None:
    put_layer(snapshots, A, {})
    lower = snapshots.root_mount([A], mount_points=True).lower
    assert lower[0] == snapshots.layer_path(A)
    assert sorted(os.listdir(lower[1])) == ["dev", "etc", "proc", "sys"]
    assert list(snapshots.diff_ids()) == [A]
