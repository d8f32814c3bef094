"""T42: what images and containers carry in labels, comments, steps and names neither drives a terminal nor writes a
line of its own into a build server's log."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root
EVIL = "x\x1b[2J\x1b]0;title\x07\r\x9b31m\u202e\n##vso[task.setvariable]v\n::set-output::v"
ON_A_LINE = EVIL.replace("\n", "").replace("\r", "")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """An image and a container full of it."""
    with fresh_engine(tmp_path_factory.mktemp("engine")) as tiffin:
        tiffin.ok(
            "create", "--name", "held", "-l", f"bad={EVIL}", "-e", f"BAD={EVIL}", "busybox", "sh", "-c", EVIL
        )
        tiffin.ok("commit", "-m", EVIL, "-a", EVIL, "held", "evil:1")
        tiffin.ok("commit", "-m", EVIL, "held")
        yield tiffin


@pytest.mark.parametrize(
    "words",
    [
        ("ps", "-a"), ("ps", "-a", "--no-trunc"), ("ps", "-a", "--format", "json"),
        ("ps", "-a", "--format", "{{json .}}"),
        ("images",), ("images", "--tree"), ("images", "--format", "json"), ("history", "evil:1"),
        ("history", "--no-trunc", "evil:1"), ("history", "--no-trunc", "--format", "json", "evil:1"),
        ("inspect", "held", "evil:1"), ("inspect", "-f", "{{json .Config}}", "held"),
        ("inspect", "-f", "{{json .}}", "evil:1"), ("inspect", "--format", "json", "evil:1"),
        ("ps", "-a", "--format", "table {{.Names}}\\t{{json .Labels}}"),
        ("ps", "-a", "--format", '{{.Names}} {{printf "%q" (.Label "bad")}}'), ("image", "prune"),
    ],
)  # fmt: skip
def test_lists_are_text(evil: Tiffin, words: tuple[str, ...]) -> None:
    done = evil(*words)
    check(done.stdout + done.stderr)
    assert not re.search(r"^(##|::)", done.stdout + done.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    [
        ("ps", "-a", "--format", '{{.Label "bad"}}'), ("inspect", "-f", "{{.Config.Labels.bad}}", "held"),
        ("inspect", "-f", "{{.Comment}} {{.Config.Env}}", "evil:1"), ("history", "--format", "{{.Comment}}", "evil:1"),
        ("ps", "-a", "--format", 'table {{.Label "bad"}}\t{{.Names}}'),
    ],
)  # fmt: skip
def test_a_template_may_ask_for_lines_but_gets_no_control_characters(
    evil: Tiffin, words: tuple[str, ...]
) -> None:
    check(evil.ok(*words))


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", EVIL), ("rmi", EVIL), ("history", EVIL), ("images", "--filter", f"{EVIL}=1"),
        ("images", "--filter", EVIL),
        ("images", "--filter", f"until={EVIL}"), ("images", "--filter", f"reference={EVIL}["), ("export", EVIL),
        ("ps", "--filter", f"status={EVIL}"), ("ps", "--format", f"{{{{.{EVIL}}}}}"), ("ps", "--format", f"{{{{{EVIL}"),
        ("inspect", "-f", f'{{{{index .Config "{EVIL}"', "held"), ("commit", "-c", f"RUN{EVIL}", "held"),
        ("commit", "-c", EVIL, "held"), ("import", "--platform", EVIL, "/dev/null"),
    ],
)  # fmt: skip
def test_errors_are_one_line_of_text(evil: Tiffin, words: tuple[str, ...]) -> None:
    done = evil(*words)
    assert done.returncode != 0
    check(done.stdout + done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    "dockerfile",
    [
        f"FROM busybox\nRUN false '{ON_A_LINE}'\n", f"FROM busybox\nRUN ['{ON_A_LINE}']\n",
        f"FROM busybox\nCOPY {json.dumps([ON_A_LINE, '/'])}\n", f"FROM busybox\nUSER {ON_A_LINE}\nRUN true\n",
        f"FROM busybox\nWORKDIR {ON_A_LINE}\nRUN false\n", f"{ON_A_LINE}\n", f"FROM {ON_A_LINE}\n",
        f"FROM busybox AS {ON_A_LINE}\n",
        f"FROM busybox\nRUN printf '\\033[2J\\033]0;t\\007'; echo '{ON_A_LINE}' >&2; false\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("progress", [("--progress", "plain"), ("-q",)])
def test_builds_and_their_errors_are_text(
    evil: Tiffin, tmp_path: Path, dockerfile: str, progress: tuple[str, ...]
) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    done = evil("build", *progress, "--network", "none", str(tmp_path))
    assert done.returncode != 0
    check(done.stdout + done.stderr)
    last = done.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith("tiffin: ")
    assert "##vso[" not in last


@pytest.mark.parametrize("words", [("run", "--rm", "--network", "none"), ("exec", "evil-runs")])
def test_a_command_that_cannot_run_is_named_as_text_and_only_its_own_output_is_raw(
    evil: Tiffin, words: tuple[str, ...]
) -> None:
    evil.ok("run", "-d", "--name", "evil-runs", "--network", "none", "busybox", "sleep", "1000")
    image = ("busybox",) if words[0] == "run" else ()
    done = evil(*words, *image, EVIL)
    assert done.returncode in (126, 127)
    check(done.stdout + done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1
    assert "##vso[" not in done.stderr
    raw = subprocess.run(evil.argv(*words, *image, "printf", "%s", EVIL), capture_output=True, timeout=60)
    assert raw.stdout == EVIL.encode()
    evil.ok("rm", "-f", "evil-runs")


def check(text: str) -> None:
    found = [character for character in text if not character.isprintable() and character not in "\n\t"]
    assert not found, text


def test_json_gives_it_back_whole(evil: Tiffin, tmp_path: Path) -> None:
    (document,) = json.loads(evil.ok("inspect", "held"))
    assert document["Config"]["Labels"]["bad"] == EVIL
    assert json.loads(evil.ok("inspect", "--format", "json", "held"))[0]["Config"]["Labels"]["bad"] == EVIL
