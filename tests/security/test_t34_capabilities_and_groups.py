"""T34: the inheritable and ambient sets are empty, capabilities are exactly those granted, groups are the image's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.init.harness import Box, run

pytestmark = pytest.mark.root

GRANTED = 1 << 0 | 1 << 5 | 1 << 13
GRANT: dict[str, Any] = {"bounding": GRANTED, "permitted": GRANTED, "effective": GRANTED}


def fields_of(output: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":")[1].split() for line in output.splitlines() if ":" in line}


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_command_has_exactly_the_capabilities_and_groups_granted(rootfs, joined, uid):
    container = Box(rootfs, "sleep", "60", **GRANT)
    container.ready()
    container.start()
    assert container.executed()
    join = container.pid if joined else 0
    caps = GRANT if uid == 0 else {"bounding": GRANTED}
    result = run(rootfs, "cat", "/proc/self/status", join=join, uid=uid, gid=uid, groups=[10, 20], **caps)
    container.close()
    fields = fields_of(result.output)
    assert int(fields["CapInh"][0], 16) == 0
    assert int(fields["CapAmb"][0], 16) == 0
    assert int(fields["CapBnd"][0], 16) == GRANTED
    assert int(fields["CapEff"][0], 16) == int(fields["CapPrm"][0], 16) == (0 if uid else GRANTED)
    assert fields["Groups"] == ["10", "20"]
    assert fields["Uid"] == [str(uid)] * 4


def test_the_groups_of_the_engine_are_dropped_when_none_are_asked_for(rootfs):
    result = run(rootfs, "cat", "/proc/self/status", uid=1000, gid=1000)
    assert fields_of(result.output)["Groups"] == []
