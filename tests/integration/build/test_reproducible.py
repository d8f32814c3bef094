"""SOURCE_DATE_EPOCH: two builds on two roots, at different times, in different directories, with different file orders
and umasks, give the same digest, and no further flag is needed."""

import io
import json
import os
import shutil
import tarfile  # noqa: TID251 - reads what was written, as other programs do
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root

EPOCH = "1500000000"
DOCKERFILE = """\
FROM busybox AS made
ARG SOURCE_DATE_EPOCH
RUN --network=none mkdir -p /made/deep && echo "$SOURCE_DATE_EPOCH" >/made/deep/f
RUN --network=none ln -s f /made/deep/l && ln /made/deep/f /made/g
FROM busybox
WORKDIR /work/place
COPY many /many
COPY one two/ /few/
ADD archive.tar /unpacked
COPY --chmod=600 one /exact
COPY --from=made /made /made
COPY --link many/0 /linked/many
COPY --link --chown=12:34 --chmod=u=rwX,go=rX one two /owned/
COPY --parents many/*/7.txt two/./four /kept/
COPY --exclude=*1.txt --exclude=link many /some
ADD --chown=1:2 --unpack=false archive.tar /packed.tar
COPY --from=made --parents --chmod=750 /made/deep /from/
COPY <<EOF /here
text
EOF
RUN --network=none touch /ran && rm -r /few/three && mkdir /tmp/x
LABEL a=b
CMD ["sh"]
"""


class Place:
    """One of the two builders: an engine, a context, and how it differs."""

    def __init__(self, tiffin: Tiffin, context: Path) -> None:
        self.tiffin, self.context = tiffin, context

    def fill(self, *, umask: int, backwards: bool, age: int) -> None:
        before = os.umask(umask)
        try:
            names = [f"many/{number % 7}/{number}.txt" for number in range(300)]
            names += ["one", "two/three", "two/four", "many/run"]
            for name in reversed(names) if backwards else names:
                path = self.context / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)
            os.chmod(self.context / "many/run", 0o777 & ~umask)
            (self.context / "many/link").symlink_to("0/0.txt")
            (self.context / "archive.tar").write_bytes(archive())
            (self.context / "Dockerfile").write_text(DOCKERFILE)
        finally:
            os.umask(before)
        for path in [self.context, *self.context.rglob("*")]:
            status = path.lstat()
            os.utime(path, (status.st_atime - age, status.st_mtime - age), follow_symlinks=False)

    def digest(self, *options: str, umask: int, environment: dict[str, str]) -> str:
        metadata = self.context.parent / "metadata.json"
        command = ["build", "-t", "made", "--metadata-file", str(metadata), *options, str(self.context)]
        self.tiffin.ok(*command, umask=umask, env={**os.environ, **environment})
        return str(json.loads(metadata.read_text())["containerimage.digest"])


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("from-tar")
        entry.mtime, entry.mode = 1_700_000_000, 0o640  # younger than the epoch
        tar.addfile(entry)
    return out.getvalue()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Place]]:
    """The second one's context is on a tmpfs, which lists files in another order."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        with fresh_engine(first) as one, fresh_engine(second / "elsewhere") as other:
            places = Place(one, first / "context"), Place(other, memory / "checkout")
            for place in places:
                place.context.mkdir()
            places[0].fill(umask=0o022, backwards=False, age=0)
            places[1].fill(umask=0o077, backwards=True, age=5_000_000)
            yield places
    finally:
        shutil.rmtree(memory)  # noqa: TID251 - the test's own tree


def test_two_builds_on_two_roots_give_the_same_digest(two: tuple[Place, Place]) -> None:
    one, other = two
    orders = [os.listdir(place.context / "many/0") for place in two]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    bases = [place.tiffin.ok("inspect", "--format", "{{.Id}}", "busybox") for place in two]
    assert bases[0] != bases[1]  # imported at different times: even that is not to matter
    digests = [
        one.digest(umask=0o022, environment={"SOURCE_DATE_EPOCH": EPOCH}),
        other.digest("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", umask=0o077, environment={}),
    ]
    assert digests[0] == digests[1]
    again = one.digest("--no-cache", umask=0o002, environment={"SOURCE_DATE_EPOCH": EPOCH})
    assert again == digests[0]


def test_the_other_outputs_are_the_same_to_the_byte(two: tuple[Place, Place], tmp_path: Path) -> None:
    written = []
    for number, place in enumerate(two):
        files = [tmp_path / f"{number}.{kind}" for kind in ("tar", "oci", "docker")]
        outputs = [word for file in files for word in ("-o", f"type={file.suffix[1:]},dest={file}")]
        place.digest(*outputs, "--squash", umask=0o022, environment={"SOURCE_DATE_EPOCH": EPOCH})
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_every_time_is_the_epochs_and_modes_are_a_checkouts(two: tuple[Place, Place], tmp_path: Path) -> None:
    place = two[1]
    file = tmp_path / "files.tar"
    place.digest(
        "-t", "made", "-o", "type=image", "-o", f"type=tar,dest={file}",
        umask=0o022, environment={"SOURCE_DATE_EPOCH": EPOCH},
    )  # fmt: skip
    document = json.loads(place.tiffin.ok("inspect", "made"))[0]
    assert document["Created"] == "2017-07-14T02:40:00Z"
    history = json.loads(f"[{','.join(place.tiffin.ok('history', '--format', 'json', 'made').splitlines())}]")
    assert {row["CreatedAt"][:10] for row in history} == {"2017-07-14"}
    with tarfile.open(file) as tar:
        members = {member.name: member for member in tar}
    own = [
        name for name in members if name.split("/")[0] in ("many", "few", "unpacked", "made", "ran", "here")
    ]
    assert len(own) > 300
    assert {members[name].mtime for name in own} == {int(EPOCH)}
    assert members["many/0/0.txt"].mode == 0o644  # 0600 in the context
    assert members["many/run"].mode == members["many/0"].mode == 0o755
    assert members["exact"].mode == 0o600
    assert members["unpacked/from-tar"].mode == 0o640
    with tarfile.open(file) as tar:
        found = tar.extractfile("made/deep/f")
        assert found is not None and found.read().decode() == f"{EPOCH}\n"


def test_who_builds_is_told_that_others_may_read_more(two: tuple[Place, Place]) -> None:
    done = two[1].tiffin("build", str(two[1].context), env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    assert "modes of a checkout" in done.stderr and "--chmod" in done.stderr
    done = two[0].tiffin("build", str(two[0].context), env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    assert "modes of a checkout" not in done.stderr


def test_another_epoch_or_none_is_another_step(two: tuple[Place, Place]) -> None:
    place = two[0]
    known = place.digest(umask=0o022, environment={"SOURCE_DATE_EPOCH": EPOCH})
    later = place.digest(umask=0o022, environment={"SOURCE_DATE_EPOCH": "1500000001"})
    plain = place.digest(umask=0o022, environment={"SOURCE_DATE_EPOCH": ""})
    assert len({known, later, plain}) == 3
    assert place.digest(umask=0o022, environment={"SOURCE_DATE_EPOCH": EPOCH}) == known


def test_a_wrong_epoch_is_refused(two: tuple[Place, Place]) -> None:
    line = two[0].tiffin.fails(
        "build", str(two[0].context), env={**os.environ, "SOURCE_DATE_EPOCH": "yesterday"}
    )
    assert "SOURCE_DATE_EPOCH 'yesterday'" in line and "seconds since 1970" in line


def test_without_an_epoch_a_layer_does_not_depend_on_the_order_of_a_directory(
    two: tuple[Place, Place], tmp_path: Path
) -> None:
    for place in two:
        (place.context / "Dockerfile.copy").write_text("FROM scratch\nCOPY many /many\n")
        for path in [place.context / "many", *(place.context / "many").rglob("*")]:
            os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(0o755)
    layers = []
    for place in two:
        place.tiffin.ok(
            "build", "-t", "copied", "-f", str(place.context / "Dockerfile.copy"), str(place.context)
        )
        layers.append(json.loads(place.tiffin.ok("inspect", "copied"))[0]["RootFS"]["Layers"])
    assert layers[0] == layers[1]
