"""Weights of block I/O, as the two versions and the two schedulers count them."""

import pytest

from tiffin.runtime.cgroups.v2 import _bfq_weight, settings


@pytest.mark.parametrize(("asked", "weight"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_v2_weights_go_to_ten_thousand(asked: int, weight: int) -> None:
    assert settings({"blockIO": {"weight": asked}}) == [("io.weight", f"default {weight}")]


@pytest.mark.parametrize("asked", [10, 11, 100, 333, 500, 999, 1000])
def test_bfq_gets_the_weight_that_was_asked_for(asked: int) -> None:
    ((_, value),) = settings({"blockIO": {"weight": asked}})
    assert _bfq_weight(value) == f"default {asked}"


def test_a_devices_weight_names_the_device() -> None:
    wanted = [{"major": 8, "minor": 0, "weight": 1000}, {"major": 8, "minor": 16, "weight": 0}]
    assert settings({"blockIO": {"weightDevice": wanted}}) == [
        ("io.weight", "8:0 10000"),
        ("io.weight", "8:16 default"),
    ]
    assert _bfq_weight("8:16 default") == "8:16 default"
