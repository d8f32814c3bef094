"""What a launcher has loaded is all that a container needs: nothing is imported by the processes forked from it."""

import json
import subprocess
import sys

import pytest

from tests.integration.engine.conftest import Ground

pytestmark = pytest.mark.root

PROGRAM = """
import json, socket, sys
from tiffin.state import locate
from tiffin.supervisor import control, work
from tiffin.supervisor.jobs import StartJob
root, run, container = sys.argv[1:]
work.load(StartJob)
before = set(sys.modules)
from tiffin.supervisor.supervise import supervise
ours, theirs = socket.socketpair()
supervise(StartJob(root, run, container, 0, 0, 0), theirs, control.acquire(locate(root, run), container))
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_nothing_is_left_to_import_when_a_container_is_started(ground: Ground) -> None:
    ground.run("true")  # compiles the filter of system calls, once for a machine
    container = ground.create("true")
    command = [sys.executable, "-c", PROGRAM, ground.root, ground.run_directory, container]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ground.state(container)["ExitCode"] == 0
    assert json.loads(done.stdout) == []
