"""Bounds, positions and the calls that are not for whole files."""

from __future__ import annotations

import time

import pytest

from tiffin.dockerfile.command import Command
from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import Arg, Copy, Env, Onbuild, Run
from tiffin.dockerfile.lines import MAX_BYTES
from tiffin.dockerfile.parser import MAX_INSTRUCTIONS, parse, parse_instruction, parse_trigger
from tiffin.errors import DockerfileError, Unsupported

SHELL = ("/bin/sh", "-c")


def only(text: str) -> object:
    instructions = parse(text.encode()).instructions
    assert len(instructions) == 1
    return instructions[0]


def test_a_file_past_its_size_is_refused() -> None:
    assert parse(b"FROM a\n" + b"#" * (MAX_BYTES - 7)).instructions
    with pytest.raises(DockerfileError, match="larger than 1048576 bytes"):
        parse(b"FROM a\n" + b"#" * (MAX_BYTES - 6))


def test_too_many_instructions_are_refused_at_the_first_too_many() -> None:
    assert len(parse(b"RUN a\n" * MAX_INSTRUCTIONS).instructions) == MAX_INSTRUCTIONS
    with pytest.raises(DockerfileError, match=f"Dockerfile:{MAX_INSTRUCTIONS + 1}: more than"):
        parse(b"RUN a\n" * (MAX_INSTRUCTIONS + 1))


def test_an_error_carries_its_parts() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM a\n\nCOPY \\\n x\n", "sub/Dockerfile.prod")
    error = caught.value
    assert (error.file, error.line, error.instruction) == ("sub/Dockerfile.prod", 3, "COPY")
    assert error.reason.startswith("requires at least two arguments")
    assert error.exit_code == 1


def test_the_source_is_the_line_as_written_with_continuations_joined() -> None:
    run = only("  run a \\\n# gone\n  b\n")
    assert isinstance(run, Run)
    assert run.source == "run a   b"


def test_argv_puts_the_shell_before_the_shell_form_alone() -> None:
    assert Command(("a b",), shell=True).argv(SHELL) == ("/bin/sh", "-c", "a b")
    assert Command(("a", "b"), shell=False).argv(SHELL) == ("a", "b")
    assert Command((), shell=False).argv(SHELL) == ()


def test_a_lone_heredoc_is_the_script_and_others_stay_in_the_shells_hands() -> None:
    lone = only("RUN <<-E\n\ta\n\tE\n")
    assert isinstance(lone, Run)
    assert lone.argv(SHELL) == (*SHELL, "a\n")
    assert lone.executable is None
    mixed = only("RUN cat <<A <<-B\n1\nA\n\t2\nB\n")
    assert isinstance(mixed, Run)
    assert mixed.argv(SHELL) == (*SHELL, "cat <<A <<-B\n1\nA\n\t2\nB")
    script = only("RUN <<-E\n\t#!/bin/x\n\ta\n\tE\n")
    assert isinstance(script, Run)
    assert script.executable is not None
    assert script.executable.data == "#!/bin/x\na\n"


def test_one_instruction_can_be_parsed_by_itself() -> None:
    env = parse_instruction("ENV A=1", file="--change")
    assert isinstance(env, Env)
    assert env.pairs == (("A", "1"),)
    with pytest.raises(DockerfileError, match=r"^--change: more than one instruction$"):
        parse_instruction("ENV A=1\nENV B=2", file="--change")
    with pytest.raises(DockerfileError, match=r"^--change: empty instruction$"):
        parse_instruction("  \n", file="--change")
    with pytest.raises(DockerfileError, match=r"^--change: ENV: must have two arguments"):
        parse_instruction("ENV A", file="--change")


def test_a_trigger_parses_again_to_what_it_was() -> None:
    text = "ONBUILD RUN <<-A cat <<B\n\tx\n\tA\ny\nB\n"
    onbuild = only(text)
    assert isinstance(onbuild, Onbuild)
    again = parse_trigger(onbuild.trigger, image="base", line=7)
    direct = only(text.removeprefix("ONBUILD "))
    assert isinstance(again, Run)
    assert isinstance(direct, Run)
    assert (again.command, again.heredocs) == (direct.command, direct.heredocs)
    assert (again.line, again.end_line) == (7, 11)


@pytest.mark.parametrize("trigger", ["FROM x", "ONBUILD RUN x", "MAINTAINER x", "NOPE", "", "RUN a\nRUN b"])
def test_a_trigger_from_a_foreign_image_is_checked_like_any_text(trigger: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_trigger(trigger, image="evil", line=3)
    assert str(caught.value).startswith("ONBUILD of evil:3: ")


def test_expanding_leaves_alone_what_has_no_words() -> None:
    run = only("RUN echo $A")
    assert isinstance(run, Run)
    assert expand(run, {"A": "1"}) is run


def test_copy_from_is_not_expanded_and_other_words_are() -> None:
    copy = only("COPY --from=x --chown=$U $S/a /b/")
    assert isinstance(copy, Copy)
    done = expand(copy, {"U": "1:1", "S": "src"})
    assert (done.from_, done.chown, done.sources, done.dest) == ("x", "1:1", ("src/a",), "/b/")


def test_an_expansion_error_names_the_file_line_and_instruction() -> None:
    copy = parse(b"FROM a\nCOPY ${x?not set} b\n").instructions[1]
    with pytest.raises(DockerfileError, match=r"^D:2: COPY: source .* is empty"):
        expand(parse(b"FROM a\nCOPY ${x} b\n").instructions[1], {}, file="D")
    with pytest.raises(DockerfileError, match=r"^D:2: COPY: "):
        expand(copy, {}, file="D")


def test_a_message_of_the_files_own_making_cannot_drive_a_terminal() -> None:
    env = parse(b'ENV A="${x:?\x1b]0;title\x07' + b"y" * 1000 + b'}"\n').instructions[0]
    with pytest.raises(DockerfileError) as caught:
        expand(env, {})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_arguments_come_from_what_was_given_then_default_then_inherited() -> None:
    arg = only("ARG A B=d C=$B D E=$A")
    assert isinstance(arg, Arg)
    assert resolve_args(arg, {}, {"B": "given"}, {"A": "global", "B": "no"}) == (
        ("A", "global"),
        ("B", "given"),
        ("C", "given"),
        ("D", None),
        ("E", "global"),
    )


def test_what_tiffin_lacks_is_told_from_what_is_wrong() -> None:
    with pytest.raises(Unsupported) as caught:
        parse(b"FROM a\nRUN --device=vendor.com/gpu x\n")
    assert not isinstance(caught.value, DockerfileError)
    assert str(caught.value).startswith("Dockerfile:2: RUN --device asks for devices by the name")


@pytest.mark.parametrize(
    "text",
    [
        "RUN " + "[" * 500_000,
        "RUN " + "a\\\n" * 300_000,
        "RUN " + "<<a " * 250_000,
        "RUN " + "<< 1) " * 150_000,
        "RUN " + "'" * 999_999,
        "ENV " + "a=1 " * 250_000,
        "ENV a=" + "${b:-" * 190_000,
        "ENV a=" + "\\" * 999_999,
        "COPY " + "--a " * 200_000,
        "HEALTHCHECK --interval=" + "1h" * 400_000 + " CMD x",
        "RUN [" + '"a",' * 200_000 + '"b"]',
        "EXPOSE " + "80 " * 300_000,
        "RUN <<E\n" + "x\n" * 500_000,
        "X" * 1_000_000,
        "LABEL " + '"' * 999_999,
    ],
    ids=lambda text: text[:18],
)
def test_hostile_text_is_parsed_or_refused_in_linear_time(text: str) -> None:
    began = time.process_time()
    try:
        for instruction in parse(text.encode()[:MAX_BYTES]).instructions:
            expand(instruction, {})
    except (DockerfileError, Unsupported):
        pass
    assert time.process_time() - began < 6.0
