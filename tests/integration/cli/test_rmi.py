"""rmi by Docker's rules on names, IDs and containers: the same words to dockerd and to tiffin, the same answers."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.images import busybox_tar
from tests.integration.peers import Docker, docker  # noqa: F401 - a fixture

pytestmark = pytest.mark.root
Answer = tuple[str, int, list[str], list[str]]

# Steps of a scenario. {id} is the image's ID, {hex} without its algorithm, {short} twelve digits of it.
SCENARIOS = {
    "a name of several goes alone": ["tag x:1 x:2", "tag x:1 y:1", "rmi x:1", "rmi y", "rmi y:1"],
    "an ID with several names needs force": ["tag x:1 y:1", "rmi {short}", "rmi {id}", "rmi -f {short}"],
    "an ID with several tags of one repository needs force": ["tag x:1 x:2", "rmi {hex}", "rmi -f {hex}"],
    "an ID with one name takes it along": ["rmi {short}", "rmi {short}"],
    "the last name takes the image along": ["rmi x:1", "rmi x:1"],
    "forms of an ID": ["rmi sha256:{short}"],
    "the whole ID": ["rmi {id}"],
    "the digits alone": ["rmi {hex}"],
    "a stopped container holds the last name": [
        "create --name cc x:1 true", "rmi x:1", "rmi {short}", "tag x:1 x:2", "rmi x:1", "rmi x:2", "rm cc", "rmi x:2",
    ],
    "force takes an image from under a stopped container": [
        "create --name cc x:1 true", "rmi -f x:1", "rmi x:1", "rmi -f {id}", "rm cc",
    ],
    "force by ID takes an image from under a stopped container": [
        "create --name cc x:1 true", "tag x:1 y:1", "rmi -f {short}", "rm cc",
    ],
    "a running container cannot be forced": [
        "run -d --network none --name cc x:1 sleep 99", "rmi x:1", "rmi {short}", "rmi -f {short}", "tag x:1 y:1",
        "rmi y:1", "rmi -f {short}", "rm -f cc", "rmi {short}",
    ],
    "force takes the last name from a running container's image": [
        "run -d --network none --name cc x:1 sleep 99", "rmi -f x:1", "rm -f cc", "rmi -f {id}",
    ],
    "several, some of which are not there": ["tag x:1 y:1", "rmi absent x:1 {short} nothing:2"],
    "force forgives what is not there": ["rmi -f absent", "rmi -f absent x:1", "rmi absent"],
    "no-prune": ["rmi --no-prune x:1"],
    "words that are no names": ["rmi 'a b'", "rmi x@sha256:zz", "rmi"],
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path_factory.mktemp("engine"), busybox=False) as tiffin:
        yield tiffin


@pytest.mark.peer
@pytest.mark.parametrize("name", SCENARIOS)
def test_tiffin_answers_as_docker_does(engine: Tiffin, docker: Docker, name: str) -> None:  # noqa: F811
    assert play(engine, SCENARIOS[name]) == play(docker._ask, SCENARIOS[name])


def play(
    ask: Callable[..., subprocess.CompletedProcess[str] | subprocess.CompletedProcess[bytes]],
    steps: list[str],
) -> list[Answer]:
    """The answers to the steps, and to what images are left then."""
    made = ask("import", str(busybox_tar()), "x:1").stdout
    identifier = (made if isinstance(made, str) else made.decode()).strip()
    digits = identifier.removeprefix("sha256:")
    answers: list[Answer] = []
    for step in [*steps, "images --no-trunc --format '{{{{.Repository}}}}:{{{{.Tag}}}}'"]:
        words = shlex.split(step.format(id=identifier, hex=digits, short=digits[:12]))
        answers.append((step, *answer(ask(*words))))
    ask("rmi", "-f", identifier)
    return answers


def answer(
    done: "subprocess.CompletedProcess[str] | subprocess.CompletedProcess[bytes]",
) -> tuple[int, list[str], list[str]]:
    """Exit code and lines, without what differs by nature: IDs, the chains of layers below an image, who speaks."""
    out, error = (text if isinstance(text, str) else text.decode() for text in (done.stdout, done.stderr))
    return done.returncode, neutral(out), neutral(error)


def neutral(text: str) -> list[str]:
    text = re.sub(r"sha256:[0-9a-f]{64}|\b[0-9a-f]{64}\b", "DIGEST", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    text = re.sub(r"^(Error response from daemon|Error|tiffin|docker): ", "", text, flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if line]
    if any("rmi" in line and ("requires" in line or "Usage" in line or "--help" in line) for line in lines):
        return ["usage"]
    return [re.sub("(invalid reference format).*", r"\1", line) for line in lines]


def test_what_is_left_on_disk_after_the_last_image_is_nothing(engine: Tiffin, tmp_path: Path) -> None:
    engine.ok("import", busybox_tar(), "x:1")
    engine.ok("rmi", "x:1")
    for part in ("layers", "staging", "oci/blobs/sha256"):
        assert [path for path in (engine.root / part).iterdir() if path.name != "mount-points"] == []


def test_layers_that_another_image_has_stay(engine: Tiffin, tmp_path: Path) -> None:
    engine.ok("import", busybox_tar(), "x:1")
    (tmp_path / "Dockerfile").write_text("FROM x:1\nLABEL a=1\n")
    engine.ok("build", "-q", "-t", "child", tmp_path)
    out = engine.ok("rmi", "x:1").splitlines()
    assert out[0] == "Untagged: x:1"
    assert len(out) == 2  # the image, and no layer
    assert engine.ok("run", "--rm", "--network", "none", "child", "echo", "whole") == "whole"
    engine.ok("rmi", "child")


def test_a_digest_names_an_image_of_its_repository(engine: Tiffin) -> None:
    engine.ok("import", busybox_tar(), "x:1")
    digest = engine.ok("image", "inspect", "-f", "{{.Descriptor.digest}}", "x:1")
    assert "No such image" in engine.fails("rmi", f"other@{digest}")
    assert "No such image" in engine.fails("rmi", f"x@sha256:{'0' * 64}")
    assert engine.ok("rmi", f"x@{digest}").splitlines()[0] == "Untagged: x:1"
    assert engine.ok("images", "-q") == ""


def test_a_beginning_that_several_images_have_is_refused(engine: Tiffin) -> None:
    ids: dict[str, list[str]] = {}
    for turn in range(17):  # two of so many begin alike
        identifier = engine.ok("import", "-m", str(turn), busybox_tar())
        ids.setdefault(identifier.removeprefix("sha256:")[0], []).append(identifier)
    prefix = next(digit for digit, found in ids.items() if len(found) > 1)
    assert f"multiple IDs found with provided prefix: {prefix}" in engine.fails("rmi", prefix)
    engine.ok("rmi", *(identifier for found in ids.values() for identifier in found))
    assert engine.ok("images", "-q") == ""
