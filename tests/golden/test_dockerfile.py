"""What every Dockerfile of `dockerfile/` means and what a build makes of those of `plan/`.

tests/golden/dockerfile_cases.py and plans.py say what a case is and how to add one.
"""

from __future__ import annotations

import pathlib

import pytest

from tests.golden import dockerfile_cases, plans

CASES = dockerfile_cases.cases()


def agrees(case: pathlib.Path, name: str, text: str) -> None:
    other = "error.txt" if name == "expected.txt" else "expected.txt"
    assert not (case / other).exists(), text
    assert text == (case / name).read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dockerfile_means_what_its_case_says(case: pathlib.Path) -> None:
    agrees(case, *dockerfile_cases.outcome(case))


@pytest.mark.parametrize("case", plans.cases(), ids=lambda case: case.name)
def test_a_build_is_the_graph_that_its_case_says(case: pathlib.Path) -> None:
    agrees(case, *plans.outcome(case))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 300
    assert len(plans.cases()) >= 40
