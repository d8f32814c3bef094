"""Killed at any moment, a loader leaves images that are absent or whole, and nothing that cannot be collected."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.images.archives import docker_archive, tar
from tests.integration.images.engine import load, open_images, stored, verify
from tiffin.images import Images

pytestmark = pytest.mark.root

_LOADER = """
import sys
from pathlib import Path
from tests.integration.images.engine import open_images
images = open_images(Path(sys.argv[1]))
print("ready", flush=True)
with open(sys.argv[2], "rb") as file:
    images.load(file)
"""


def layers(seed: int) -> list[bytes]:
    files = [{f"f{n}.{part}": bytes([seed % 256, n, part]) * 3000 for part in range(40)} for n in range(4)]
    return [tar(members) for members in files]


def loader(directory: Path, archive: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", _LOADER, directory, archive], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_at_random_moments_nothing_half_made_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(docker_archive("x:0", layers(0)))
    began = time.monotonic()
    with loader(tmp_path / "whole", archive) as process:
        assert process.wait() == 0
    whole = time.monotonic() - began
    dice = random.Random(7)
    for turn in range(1, 21):
        archive.write_bytes(docker_archive(f"x:{turn}", layers(turn)))
        with loader(tmp_path, archive) as process:
            time.sleep(dice.uniform(0, whole / 2))  # not waiting for anything: the moment itself is the input
            process.send_signal(signal.SIGKILL)
        images = open_images(tmp_path)
        verify(images)
        images.store.close()
    images = open_images(tmp_path)
    images.collect()
    verify(images)
    named = len(images.list())
    assert stored(images) == (named * 6, named * 4, 0)
    images.store.close()


@pytest.mark.parametrize("call", ["rename", "fsync", "mkdir", "open"])
def test_killed_at_each_step_that_makes_things_durable(tmp_path: Path, call: str) -> None:
    """A child dies at the nth such call, for every n until one lives to the end."""
    data = docker_archive("x:1", layers(1)[:1])
    images = open_images(tmp_path)
    for count in range(1, 200):
        pid = os.fork()
        if pid == 0:
            _die_at(call, count, tmp_path, data)
        _, status = os.waitpid(pid, 0)
        verify(images)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        images.collect()
        assert stored(images) == (3 * len(images.list()), len(images.list()), 0)
        _forget(images)
    assert count > 1
    assert images.resolve("x:1")
    images.store.close()


def _forget(images: Images) -> None:
    for row in images.list():
        images.remove(row.id, force=True)
    assert stored(images) == (0, 0, 0)


def _die_at(call: str, count: int, directory: Path, data: bytes) -> None:
    try:
        real, left = getattr(os, call), [count]

        def fatal(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        images = open_images(directory)
        setattr(os, call, fatal)
        load(images, data)
        os._exit(0)
    finally:
        os._exit(9)
