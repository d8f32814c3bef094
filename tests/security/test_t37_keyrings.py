"""T37: a container's session keyring is its own; the engine's keys are not within its reach."""

from __future__ import annotations

import os

import pytest

from tests.integration.init.harness import run
from tiffin.kernel.libc import SYS_KEYCTL, call

pytestmark = pytest.mark.root

SYS_ADD_KEY = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
SESSION, GET_KEYRING_ID, JOIN_SESSION_KEYRING = -3, 0, 1


@pytest.fixture
def host_key():
    """A key in the session keyring that this process, and so the engine's, has."""
    try:
        call(SYS_KEYCTL, JOIN_SESSION_KEYRING, 0)
        return call(SYS_ADD_KEY, b"user", b"tiffin-test-secret", b"hunter2", 7, SESSION)
    except OSError as error:
        pytest.skip(f"no keyrings here: {error}")


def test_the_session_keyring_is_not_the_engines(probe_rootfs, host_key):
    ours = call(SYS_KEYCTL, GET_KEYRING_ID, SESSION, 0)
    assert int(run(probe_rootfs, "probe", "keyring").output) != ours


def test_a_key_of_the_engine_cannot_be_read(probe_rootfs, host_key):
    assert run(probe_rootfs, "probe", "key", str(host_key)).code == 1
