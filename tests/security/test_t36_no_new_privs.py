"""T36: with no_new_privs a set-user-id program in the container gains nothing, on run and on exec."""

from __future__ import annotations

import pytest

from tests.integration.init.harness import Box, run
from tiffin.init import message as m

pytestmark = pytest.mark.root


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(("flags", "euid"), [(m.NO_NEW_PRIVS, 100), (0, 0)])
def test_a_setuid_program_keeps_the_user_under_no_new_privs(probe_rootfs, joined, flags, euid):
    container = Box(probe_rootfs, "sleep", "60")
    container.ready()
    container.start()
    assert container.executed()
    join = container.pid if joined else 0
    result = run(probe_rootfs, "setuid-probe", "euid", uid=100, gid=100, flags=flags, join=join)
    container.close()
    assert result.code == euid
