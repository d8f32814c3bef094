"""`tests/cgroup2` in a virtual machine with unified control groups: each of its tests is one here, too.

So is each test that every OCI runtime has to pass, with crun: it works with unified control groups, or none.
"""

import re
from pathlib import Path

import pytest

from tests.vm.boot import Outcome, Report, run_in_guest

# Emulated on two busy cores it takes a minute; the first time, the machine is made: another one.
pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1200)]

TESTS = Path(__file__).parent.parent
RUNTIME = TESTS / "integration/runtime"
FILES = [
    *sorted((TESTS / "cgroup2").glob("test_*.py")),
    RUNTIME / "test_cgroups.py",
    RUNTIME / "test_runtimes.py",
]
CHOICE = ["-k", "crun or unknown_runtime or not test_runtimes"]
NAMES = [
    f"{file.stem}::{name}"
    for file in FILES
    for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    files = [str(file.relative_to(TESTS.parent)) for file in FILES]
    return run_in_guest(tmp_path_factory.mktemp("vm"), CHOICE + files)


@pytest.mark.parametrize("name", NAMES)
def test_in_the_guest(report: Report, name: str) -> None:
    outcomes = [outcome for outcome in report.outcomes if outcome.name.partition("[")[0] == name]
    assert outcomes, f"the guest did not run it; its console ends:\n{report.console[-4000:]}"
    failures = [outcome for outcome in outcomes if outcome.state != "passed"]
    assert not failures, "\n".join(map(_shown, failures))


def _shown(outcome: Outcome) -> str:
    return f"{outcome.name} {outcome.state} in the guest\n{outcome.text}"
