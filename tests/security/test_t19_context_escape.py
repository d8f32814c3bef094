"""T19: nothing outside the build context is read, whatever the context holds."""

import os
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.build.contexts.context import Context
from tiffin.build.copying.sources import SourceTree
from tiffin.build.copying.tree import scan
from tiffin.errors import DockerfileError, InvalidArgument, TiffinError

SECRET = "the canary's secret"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    (outside / "Dockerfile").write_text(f"FROM scratch\nLABEL secret='{SECRET}'")
    (outside / ".dockerignore").write_text("*")
    return outside


@pytest.fixture
def top(tmp_path: Path, canary: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir(exist_ok=True)
    return made


@pytest.mark.parametrize("target", ["absolute", "relative", "through a directory"])
def test_a_dockerfile_that_is_a_link_out_of_the_context_is_refused(
    top: Path, canary: Path, target: str
) -> None:
    name = "Dockerfile"
    if target == "absolute":
        (top / name).symlink_to(canary / "Dockerfile")
    elif target == "relative":
        (top / name).symlink_to("../outside/Dockerfile")
    else:
        (top / "sub").symlink_to(canary)
        name = str(top / "sub" / "Dockerfile")
    context = Context(str(top))
    with pytest.raises(InvalidArgument, match="leaves the build context"):
        context.read_dockerfile("" if name == "Dockerfile" else name)
    context.close()


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
def test_an_ignore_file_that_is_a_link_out_of_the_context_is_refused(
    top: Path, canary: Path, name: str
) -> None:
    (top / name).symlink_to(canary / ".dockerignore")
    context = Context(str(top))
    with pytest.raises(InvalidArgument, match="leaves the build context"):
        context.use_ignore_rules()
    context.close()


def test_links_within_the_context_are_fine_for_both(top: Path) -> None:
    (top / "real").write_text("FROM scratch")
    (top / "Dockerfile").symlink_to("real")
    (top / "ignore").write_text("x")
    (top / ".dockerignore").symlink_to("ignore")
    context = Context(str(top))
    assert context.read_dockerfile()[0] == b"FROM scratch"
    context.use_ignore_rules()
    context.close()


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_a_dockerfile_that_is_no_file_is_refused_without_waiting(top: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(top / "Dockerfile")
    elif kind == "directory":
        (top / "Dockerfile").mkdir()
    else:
        (top / "Dockerfile").symlink_to("/dev/zero")
    context = Context(str(top))
    with pytest.raises(InvalidArgument):
        context.read_dockerfile()
    context.close()


@pytest.mark.parametrize(
    "source",
    [
        "../outside/secret",
        "a/../../outside/secret",
        "link/secret",
        "file",
        "climb/secret",
        "self/cwd/../outside/secret",
    ],
)
def test_no_source_reaches_outside(top: Path, canary: Path, source: str) -> None:
    (top / "link").symlink_to(canary)
    (top / "file").symlink_to(canary / "secret")
    (top / "climb").symlink_to("../outside")
    (top / "self").symlink_to("/proc/self")
    context = Context(str(top))
    with pytest.raises(TiffinError):
        context.tree.pick(source)
    context.close()


@pytest.mark.parametrize("pattern", ["*/secret", "li*/secret", "*/../../outside/*", "l*"])
def test_no_wildcard_reaches_outside(top: Path, canary: Path, pattern: str) -> None:
    (top / "link").symlink_to(canary)
    (top / "loop").symlink_to("loop")
    context = Context(str(top))
    with pytest.raises(TiffinError):
        context.tree.pick(pattern)
    context.close()


@pytest.mark.root
def test_links_in_the_context_arrive_as_links_and_what_they_name_is_not_read(
    bench: Bench, canary: Path
) -> None:
    bench.write("d/plain", "x")
    (bench.context / "d" / "link").symlink_to(canary / "secret")
    (bench.context / "d" / "dir").symlink_to(canary)
    bench.build("FROM scratch\nCOPY d /d\nCOPY . /all")
    with bench.tree() as top:
        found = [path for path in top.rglob("*") if not path.is_symlink() and path.is_file()]
        assert all(path.read_text() != SECRET for path in found)
        assert os.readlink(top / "d" / "link") == str(canary / "secret")
    for blob in (Path(bench.layout.oci) / "blobs" / "sha256").iterdir():
        assert SECRET.encode() not in blob.read_bytes()


@pytest.mark.root
def test_a_destination_cannot_lead_out_of_the_image(bench: Bench, canary: Path) -> None:
    before = sorted(os.listdir(canary))
    bench.write("tree/out/secret", "overwritten")
    bench.write("f", "overwritten")
    (bench.context / "links").mkdir()
    (bench.context / "links" / "out").symlink_to(canary)
    (bench.context / "links" / "file").symlink_to(canary / "secret")
    (bench.context / "links" / "up").symlink_to("../../../../../.." + str(canary))
    bench.build(
        "FROM scratch\nCOPY links /\nCOPY tree /\nCOPY f /file\nCOPY f /up/secret\nCOPY f /out/new\n"
        "COPY f /../../../../x\nWORKDIR /out/made\nADD f up/"
    )
    assert (canary / "secret").read_text() == SECRET
    assert sorted(os.listdir(canary)) == before
    with bench.tree() as top:
        assert (top / str(canary).lstrip("/") / "secret").read_text() == "overwritten"


@pytest.mark.root
def test_a_stage_cannot_be_copied_from_outside_of_itself(bench: Bench, canary: Path) -> None:
    (bench.context / "links").mkdir()
    (bench.context / "links" / "out").symlink_to(canary)
    for source in ("/out/secret", "/out", "../../out/secret", "/*/secret"):
        with pytest.raises(DockerfileError):
            bench.build(f"FROM scratch AS one\nCOPY links /\nFROM scratch\nCOPY --from=one {source} /x")


def test_a_directory_swapped_for_a_link_while_it_is_copied_is_not_followed(
    top: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "d").mkdir()
    (top / "d" / "secret").write_text("mine")
    fd = os.open(top, os.O_RDONLY)

    def swap_first(found: int, chosen: object = None) -> object:
        (top / "d").rename(top / "gone")
        (top / "d").symlink_to(canary)
        return scan(found, chosen)  # type: ignore[arg-type]

    monkeypatch.setattr("tiffin.build.copying.sources.scan", swap_first)
    try:
        (picked,) = SourceTree(fd, "the build context").pick("d")
    finally:
        os.close(fd)
    secret = next(node for node in picked.nodes if node.path == "secret")
    assert secret.size == len("mine")
