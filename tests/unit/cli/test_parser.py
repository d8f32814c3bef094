"""Words are read as Docker reads them."""

import pytest

from tiffin.cli.main import main
from tiffin.cli.output import UsageError
from tiffin.cli.parser import REST, CommandParser, HelpPrinted, Namespace
from tiffin.cli.table import find


def parser(name: str = "run") -> CommandParser:
    command, _ = find([name])
    assert command is not None
    made = CommandParser(command)
    made.switch("-i", "--interactive", help="")
    made.switch("-t", "--tty", help="")
    made.switch("--sig-proxy", default=True, help="")
    made.add_argument("-p", "--publish", action="append", default=[])
    made.add_argument("-m", "--memory-swap")
    made.add_argument("-n", "--last", type=int, default=0)
    made.add_argument("--progress", choices=("auto", "plain"), default="auto")
    return made


def container(*words: str) -> Namespace:
    made = parser()
    made.add_argument("image", metavar="IMAGE")
    made.add_argument("command", nargs=REST)
    return made.parse(words)


def names(*words: str) -> Namespace:
    made = parser("rm")
    made.add_argument("names", nargs="+", metavar="CONTAINER")
    return made.parse(words)


@pytest.mark.parametrize(
    "words", [("-it",), ("-i", "-t"), ("--interactive", "--tty"), ("-ti",), ("-i=true", "--tty=1")]
)
def test_switches_together_and_apart(words: tuple[str, ...]) -> None:
    args = container(*words, "image")
    assert (args.interactive, args.tty, args.sig_proxy) == (True, True, True)


def test_a_switch_can_be_switched_off() -> None:
    assert container("--sig-proxy=false", "image").sig_proxy is False
    assert container("-t", "--tty=F", "image").tty is False


@pytest.mark.parametrize(
    "words", [("-p", "80"), ("-p80",), ("-p=80",), ("--publish", "80"), ("--publish=80",), ("-itp", "80")]
)
def test_an_option_and_its_value(words: tuple[str, ...]) -> None:
    assert container(*words, "image").publish == ["80"]


def test_a_list_is_of_one_parse_only() -> None:
    made = parser("rm")
    made.add_argument("names", nargs="+")
    assert made.parse(["-p1", "-p", "2", "a"]).publish == ["1", "2"]
    assert made.parse(["a"]).publish == []


def test_what_follows_an_option_is_its_value_whatever_it_looks_like() -> None:
    args = container("--memory-swap", "-1", "-p", "--tty", "-n", "-3", "image")
    assert (args.memory_swap, args.publish, args.last, args.tty) == ("-1", ["--tty"], -3, False)
    assert container("--memory-swap=", "image").memory_swap == ""


def test_everything_after_the_image_is_the_command() -> None:
    args = container("-i", "image", "ls", "-t", "--help", "--", "x")
    assert (args.image, args.command, args.tty) == ("image", ["ls", "-t", "--help", "--", "x"], False)
    assert container("--", "image", "-t").command == ["-t"]
    assert container("image").command == []


def test_options_may_stand_between_operands_of_other_commands() -> None:
    args = names("a", "-t", "b", "-", "--", "-i")
    assert (args.names, args.tty, args.interactive) == (["a", "b", "-", "-i"], True, False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--nope",), "unknown flag: --nope"),
        (("--nope=1",), "unknown flag: --nope"),
        (("-x",), "unknown flag: -x"),
        (("-itx",), "unknown shorthand flag: 'x' in -itx"),
        (("-p",), "flag needs an argument: -p"),
        (("--publish",), "flag needs an argument: --publish"),
        (("--tty=maybe", "i"), 'invalid argument "maybe" for "--tty"'),
        (("-n", "x", "i"), 'invalid argument "x" for "-n, --last"'),
        (("--progress=x", "i"), "want auto or plain"),
    ],
)
def test_a_wrong_word_is_told_with_code_125(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        container(*words)
    assert text in str(caught.value)
    assert str(caught.value).endswith("see 'tiffin run --help'")
    assert caught.value.exit_code == 125


def test_missing_and_superfluous_operands() -> None:
    for parse, operand in ((names, "CONTAINER"), (container, "IMAGE")):
        with pytest.raises(UsageError, match=f"requires {operand}") as caught:
            parse()
        assert caught.value.exit_code == 1
    made = parser("port")
    made.add_argument("container")
    made.add_argument("port", nargs="?", default="")
    assert made.parse(["a"]).port == ""
    assert made.parse(["a", "80"]).port == "80"
    with pytest.raises(UsageError, match='unexpected argument "c"') as caught:
        made.parse(["a", "80", "c"])
    assert caught.value.exit_code == 1


def test_help_is_printed_though_operands_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpPrinted):
        names("--help")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Usage: tiffin rm ")
    assert "  --progress auto|plain" in lines
    assert max(map(len, lines)) <= 130


def test_a_mistake_of_ours_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiffin.cli.commands import tag

    def broken(*_: object) -> int:
        raise ZeroDivisionError("oh\x1b[0m")

    monkeypatch.setattr(tag, "run", broken)
    assert main(["tag", "a", "b"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("tiffin: internal error: ZeroDivisionError: oh\\x1b[0m; please report it")
    assert error.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "tag", "a", "b"])
