"""`tiffin build --check`, and what a build tells of its checks at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine"), busybox=False) as tiffin:
        yield tiffin


def context(directory: Path, dockerfile: str, **files: str) -> Path:
    directory.mkdir()
    (directory / "Dockerfile").write_text(dockerfile)
    for name, text in {"app": "x", **files}.items():
        (directory / name).write_text(text)
    return directory


def test_a_clean_dockerfile_checks_with_exit_code_0(engine: Tiffin, tmp_path: Path) -> None:
    directory = context(tmp_path / "context", "FROM scratch\nCOPY app /\n")
    assert engine.ok("build", "--check", directory) == "Check complete, no warnings found."


def test_findings_are_shown_with_exit_code_1_and_nothing_is_built(engine: Tiffin, tmp_path: Path) -> None:
    directory = context(tmp_path / "context", "FROM scratch\nCOPY app /\nCMD run\n")
    done = engine("build", "--check", "-t", "checked", directory)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "Check complete, 1 warning has been found!\n"
        "\n"
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
        "Dockerfile:3\n"
        "--------------------\n"
        "   1 |     FROM scratch\n"
        "   2 |     COPY app /\n"
        "   3 | >>> CMD run\n"
        "   4 |     \n"
        "--------------------\n"
    )
    assert "checked" not in engine.ok("images")


def test_a_dockerfile_that_is_wrong_fails_its_check(engine: Tiffin, tmp_path: Path) -> None:
    directory = context(tmp_path / "context", "FROM scratch\nCOPPY app /\n")
    done = engine("build", "--check", directory)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "tiffin: Dockerfile:2: unknown instruction: COPPY (did you mean COPY?)"
    )


def test_of_a_dockerfile_that_is_wrong_the_findings_before_it_are_shown(
    engine: Tiffin, tmp_path: Path
) -> None:
    directory = context(tmp_path / "context", "FROM scratch AS Bad\nMAINTAINER cook\nNOSUCH\nCMD x\n")
    done = engine("build", "--check", directory)
    *shown, last = done.stderr.splitlines()
    assert (done.returncode, last) == (1, "tiffin: Dockerfile:3: unknown instruction: NOSUCH")
    assert "   3 | >>> NOSUCH" in shown
    assert done.stdout.startswith("Check complete, 2 warnings have been found!")
    (directory / "Dockerfile").write_text("FROM scratch\nENV A=${B:?missing} C=$D\n")
    done = engine("build", "--check", directory)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "tiffin: Dockerfile:2: ENV: ${B:?missing}: B: missing"


def test_a_build_tells_at_its_end_and_goes_on(engine: Tiffin, tmp_path: Path) -> None:
    directory = context(
        tmp_path / "context", "FROM scratch as base\nCOPY app /\nMAINTAINER cook\nENV A_KEY=1\n"
    )
    done = engine("build", "-t", "told", directory)
    assert done.returncode == 0
    assert done.stderr.endswith(
        "\n"
        " 3 warnings found (use build --check to expand):\n"
        " - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n"
        " - MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 3)\n"
        ' - SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "A_KEY") (line 4)\n'
    )
    assert "told" in engine.ok("images")
    assert engine("build", "-q", directory).stderr == ""


def test_findings_stop_a_build_where_the_directive_says_so(engine: Tiffin, tmp_path: Path) -> None:
    text = "# check=error=true\nFROM scratch as base\nCOPY app /\n"
    directory = context(tmp_path / "context", text)
    assert engine.fails("build", "-t", "stopped", directory) == (
        "tiffin: Dockerfile: lint violation found for rules: FromAsCasing; see build --check"
    )
    checked = engine("build", "--check", directory)
    assert checked.returncode == 1
    assert checked.stderr == "ERROR: lint violation found for rules: FromAsCasing\n"
    assert "stopped" not in engine.ok("images")
    argument = "BUILDKIT_DOCKERFILE_CHECK=skip=all"
    assert "warning" not in engine("build", "--build-arg", argument, "-t", "not-stopped", directory).stderr


def test_what_is_known_of_base_and_context_is_taken_into_account(engine: Tiffin, tmp_path: Path) -> None:
    base = context(tmp_path / "base", "FROM scratch\nENV FROM_BASE=/x\nCOPY app /\n")
    engine.ok("build", "-t", "checks-base", base)
    text = "# check=experimental=all\nFROM checks-base\nWORKDIR $FROM_BASE\nCOPY app left $UNSET/\n"
    directory = context(tmp_path / "context", text, **{".dockerignore": "left\n"})
    output = engine("build", "--check", directory).stdout
    assert "Usage of undefined variable '$UNSET'" in output
    assert 'Attempting to Copy file "left" that is excluded by .dockerignore' in output
    assert output.startswith("Check complete, 2 warnings have been found!")


def test_text_of_the_dockerfile_cannot_drive_the_terminal(engine: Tiffin, tmp_path: Path) -> None:
    directory = context(tmp_path / "context", "FROM scratch\nLABEL \x1b[31m bad\n")
    done = engine("build", "--check", directory)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "LABEL \\x1b[31m bad" in done.stdout
