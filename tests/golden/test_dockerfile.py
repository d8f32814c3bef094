"""What every Dockerfile of `dockerfile/` means. tests/golden/dockerfile_cases.py says how to add one."""

from __future__ import annotations

import pathlib

import pytest

from tests.golden.dockerfile_cases import cases, outcome

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dockerfile_means_what_its_case_says(case: pathlib.Path) -> None:
    name, text = outcome(case)
    other = "error.txt" if name == "expected.txt" else "expected.txt"
    assert not (case / other).exists(), text
    assert text == (case / name).read_text()


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 300
