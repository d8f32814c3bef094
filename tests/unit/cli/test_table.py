"""The command table: Docker's names, in both forms, each with its own help."""

import pytest

from tiffin.cli.main import main
from tiffin.cli.table import ALIASES, COMMANDS, Command, find


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.short], ids=lambda c: c.short)
def test_the_short_and_the_group_form_are_one_command(command: Command) -> None:
    assert find([command.short, "x"]) == (command, 1)
    assert find([*command.words.split(), "x"]) == (command, len(command.words.split()))


@pytest.mark.parametrize(("alias", "words"), ALIASES.items())
def test_dockers_other_names_work_too(alias: str, words: str) -> None:
    found, used = find(alias.split())
    assert found is not None
    assert (found.words, used) == (words, 2)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.words)
def test_help_shows_usage_options_and_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.words.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"tiffin {command.shown}" in text
    assert "Examples:" in text
    assert "--help" in text


def test_the_top_lists_every_short_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {c.short} " in text for c in COMMANDS if c.short)
    assert main(["container"]) == 0
    assert "  ls " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["runn"], 1, "did you mean 'run'"),
        (["container", "runn"], 1, "did you mean 'container run'"),
        (["--rot", "/x", "ps"], 125, "unknown flag: --rot"),
        (["--root"], 125, "flag needs an argument: --root"),
        (["run", "--memry", "1g", "x"], 125, "unknown flag: --memry"),
        (["run", "--rm=maybe", "x"], 125, '"maybe" for "--rm"'),
        (["exec"], 1, "requires CONTAINER"),
    ],
)
def test_a_slip_is_one_line(
    words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
