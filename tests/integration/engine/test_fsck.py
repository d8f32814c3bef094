"""What `fsck` finds, what it says of it, and what a repair makes of it."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin, fresh_engine
from tests.integration.crash.ground import Server
from tests.integration.images.archives import Oci, tar

pytestmark = pytest.mark.root


@pytest.fixture
def tiffin(tmp_path: Path) -> Iterator[Tiffin]:
    """An engine with an image of tiffin's own (busybox), one that was loaded (x:1, two layers), and one built."""
    with fresh_engine(tmp_path) as engine:
        archive, context = tmp_path / "x.tar", tmp_path / "context"
        oci = Oci()
        oci.image("docker.io/library/x:1", [tar({"a": b"a" * 5000, "b": b"b"}), tar({"c": b"c" * 5000})])
        archive.write_bytes(oci.tar())
        engine.ok("load", "-i", archive)
        context.mkdir()
        (context / "Dockerfile").write_text(
            f"FROM {BUSYBOX}\nRUN rm -r /home && mkdir /home && echo 1 > /one\nCOPY f /f\n"
        )
        (context / "f").write_text("f")
        engine.ok("build", "-t", "built", context)
        yield engine


def layer(engine: Tiffin, image: str, number: int = -1) -> Path:
    layers: list[str] = json.loads(engine.ok("image", "inspect", image))[0]["RootFS"]["Layers"]
    return engine.root / "layers" / layers[number][7:]


def blob(engine: Tiffin, query: str) -> Path:
    db = sqlite3.connect(engine.root / "tiffin.db")
    digest: str = db.execute(query).fetchone()[0]
    db.close()
    return engine.root / "oci/blobs/sha256" / digest[7:]


def execute(engine: Tiffin, statement: str) -> None:
    db = sqlite3.connect(engine.root / "tiffin.db", isolation_level=None)
    db.execute(statement)
    db.close()


def damage(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))


def named(engine: Tiffin) -> set[tuple[str, ...]]:
    return {tuple(line.split()[:3]) for line in engine.ok("images").splitlines()[1:]}


X_LAYER = (
    "SELECT blob FROM image_layers JOIN image_names USING (image) WHERE name LIKE '%/x:1' AND position = 1"
)
BUILT_LAYER = (
    "SELECT blob FROM image_layers JOIN image_names USING (image) WHERE name LIKE '%/built%' AND position = 2"
)
X_CONFIG = "SELECT image FROM image_names WHERE name LIKE '%/x:1'"
X_MANIFEST = "SELECT manifest FROM images JOIN image_names ON id = image WHERE name LIKE '%/x:1'"
BUSYBOX_MANIFEST = "SELECT manifest FROM images JOIN image_names ON id = image WHERE name LIKE '%/busybox%'"


def test_a_store_that_was_used_is_clean(tiffin: Tiffin) -> None:
    tiffin.ok("run", "--name", "cc", "-v", "data:/data", "built", "sh", "-c", "echo 1 > /new; rm /f")
    tiffin.ok("commit", "cc", "committed")
    tiffin.ok("tag", "committed", "again")
    tiffin.ok("rmi", "committed")
    assert tiffin("fsck").stdout == "nothing is damaged\n"
    assert tiffin.ok("fsck", "-q", "--repair") == ""
    assert tiffin.ok("run", "--rm", "again", "cat", "/new") == "1"


def of_layer(
    change: Callable[[Path], object], image: str = "x:1", number: int = -1
) -> Callable[[Tiffin], object]:
    return lambda engine: change(layer(engine, image, number))


REPAIRABLE: dict[str, tuple[Callable[[Tiffin], object], str]] = {
    "a file of a layer": (of_layer(lambda tree: damage(tree / "c")), "c "),
    "a file too many": (of_layer(lambda tree: (tree / "new").touch()), "new does not belong to the layer"),
    "a layer's tree": (of_layer(lambda tree: os.rename(tree, f"{tree}.away")), "its directory is missing"),
    "a layer that was built": (of_layer(lambda tree: (tree / "one").unlink(), "built", -2), "one is missing"),
    "a layer's row": (lambda e: execute(e, "DELETE FROM layers"), "has no row"),
    "a config": (lambda e: damage(blob(e, X_CONFIG)), "does not hash to its digest"),
    "a manifest of our own": (lambda e: blob(e, BUSYBOX_MANIFEST).unlink(), "is missing"),
    "a blob of our own": (lambda e: damage(blob(e, BUILT_LAYER)), "does not hash to its digest"),
    "a blob of our own, shortened": (lambda e: os.truncate(blob(e, BUILT_LAYER), 999), "has 999 bytes, not"),
    "the layout": (lambda e: (e.root / "oci/oci-layout").unlink(), "does not say that this is an image layout"),
    "a row that names nothing": (
        lambda e: execute(e, "INSERT INTO image_names (name, image) VALUES ('docker.io/library/z:1', 'sha256:0')"),
        "names nothing in images",
    ),
    "a volume's row": (lambda e: (e.root / "volumes/lost/_data").mkdir(parents=True), "has files but no row"),
}  # fmt: skip


@pytest.mark.parametrize("what", REPAIRABLE)
def test_damage_is_found_and_repaired(tiffin: Tiffin, what: str) -> None:
    before = named(tiffin)
    harm, text = REPAIRABLE[what]
    harm(tiffin)
    found = tiffin("fsck")
    assert found.returncode == 1
    assert text in found.stdout
    assert all(line.startswith("damage: ") for line in found.stdout.splitlines()[:-1])
    assert "repaired" in tiffin.ok("fsck", "--repair")
    for path in (tiffin.root / "layers").glob("*.away"):
        subprocess.run(["rm", "-r", path], check=True)
    assert tiffin.ok("fsck") == "nothing is damaged"
    assert named(tiffin) == before
    assert tiffin.ok("run", "--rm", "built", "cat", "/one", "/f") == "1\nf"


def test_what_cannot_be_whole_again_is_dropped_and_named(tiffin: Tiffin) -> None:
    damage(blob(tiffin, X_LAYER))
    said = tiffin.ok("fsck", "--repair")
    assert "(docker.io/library/x:1) was dropped; pull or load it again" in said
    assert tiffin.ok("fsck") == "nothing is damaged"
    assert {row[0] for row in named(tiffin)} == {"busybox", "built"}


def test_an_image_that_a_container_is_made_from_is_kept(tiffin: Tiffin) -> None:
    tiffin.ok("create", "--name", "user", "x:1", "/a")
    damage(blob(tiffin, X_LAYER))
    done = tiffin("fsck", "--repair")
    assert done.returncode == 1
    assert "was kept: container user is made from it" in done.stdout
    assert "x" in {row[0] for row in named(tiffin)}


def test_a_layer_under_a_running_container_is_not_touched(tiffin: Tiffin) -> None:
    tiffin.ok("run", "-d", "--name", "user", "built", "sleep", "1000")
    tree = layer(tiffin, "built", -2)
    (tree / "one").write_text("2\n")
    inode = tree.stat().st_ino
    done = tiffin("fsck", "--repair")
    assert done.returncode == 1
    assert "uses it; stop that and repair again" in done.stdout
    assert tree.stat().st_ino == inode
    tiffin.ok("rm", "-f", "user")
    assert "unpacked again" in tiffin.ok("fsck", "--repair")
    assert (tree / "one").read_text() == "1\n"


def test_what_a_killed_command_left_is_told_apart_from_damage_and_removed(tiffin: Tiffin) -> None:
    root = tiffin.root
    (root / "staging/layer-00").mkdir()
    (root / "staging/blob-00").write_bytes(b"x")
    (root / "containers" / ("0" * 64)).mkdir()
    (root / "oci/blobs/sha256" / ("1" * 64)).write_bytes(b"y")
    (root / "layers" / ("2" * 64)).mkdir()
    (root / "oci/index.json").write_text("{}")
    (root / "oci/.index.json").write_text("{")
    (root / "cache/layer-sizes.json.4194305").write_text("{")
    execute(tiffin, "INSERT INTO volumes (name, anonymous, labels, created) VALUES ('half', 0, '{}', 0)")
    lines = tiffin.ok("fsck").splitlines()
    assert lines[-1].startswith("nothing is damaged, 9 left over")
    assert all(line.startswith("leftover: ") for line in lines[:-1])
    assert tiffin.ok("fsck", "--repair").endswith("nothing is damaged, 9 repaired")
    assert tiffin.ok("fsck") == "nothing is damaged"


def test_what_is_being_made_is_not_left_over(tiffin: Tiffin) -> None:
    from tiffin.engine import Engine
    from tiffin.state import open_store

    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        store = open_store(engine.layout)
        with store.adding():
            (tiffin.root / "oci/blobs/sha256" / ("1" * 64)).write_bytes(b"y")
            assert engine.system.fsck() == []
            assert tiffin.fails("fsck", "--repair").endswith("repair when it is done")
        assert [finding.kind for finding in engine.system.fsck()] == ["blob"]
        store.close()


def test_findings_as_json(tiffin: Tiffin) -> None:
    (layer(tiffin, "x:1") / "c").unlink()
    done = tiffin("fsck", "--format", "json")
    assert done.returncode == 1
    (finding,) = map(json.loads, done.stdout.splitlines())
    assert (finding["Severity"], finding["Kind"], finding["Problem"]) == ("damage", "layer", "c is missing")
    assert finding["Repaired"] is False


def test_every_layer_and_blob_is_read(tiffin: Tiffin) -> None:
    from tiffin.engine import Engine

    seen: list[tuple[int, int]] = []
    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        engine.system.fsck(report=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_blob_that_was_dropped_is_no_damage_while_its_layer_gives_it_again(tiffin: Tiffin) -> None:
    dropped = blob(tiffin, BUILT_LAYER)
    dropped.unlink()
    assert tiffin.ok("fsck") == "nothing is damaged"
    (layer(tiffin, "built") / "f").write_text("g")
    assert "is missing" in tiffin("fsck").stdout


def test_a_blob_that_a_repository_holds_is_no_damage_when_it_is_missing(tiffin: Tiffin) -> None:
    path = blob(tiffin, X_LAYER)
    path.unlink()
    assert "is missing" in tiffin("fsck").stdout
    execute(tiffin, f"INSERT INTO blob_origins VALUES ('sha256:{path.name}', 'docker.io/library/x')")
    assert tiffin.ok("fsck") == "nothing is damaged"


def test_what_a_registry_has_is_fetched_from_there(tiffin: Tiffin, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        server.tiffin.ok("load", "-i", tmp_path / "x.tar")
        tiffin.ok("rmi", "x:1")
        tiffin.ok("pull", f"{server.address}/x:1")
        lost = blob(tiffin, X_LAYER)
        damage(lost)
        manifest = blob(tiffin, X_MANIFEST)
        manifest.unlink()
        said = tiffin.ok("fsck", "--repair")
        assert "made again from its layer, or fetched" in said
        assert f"blob sha256:{manifest.name} is missing: fetched again" in said
    finally:
        server.close()
    assert tiffin.ok("fsck") == "nothing is damaged"
    assert lost.exists()


def test_what_a_registry_serves_is_verified_too(tiffin: Tiffin, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        server.tiffin.ok("load", "-i", tmp_path / "x.tar")
        tiffin.ok("manifest", "create", f"{server.address}/x:list", f"{server.address}/x:1")
        tiffin.ok("manifest", "push", f"{server.address}/x:list")
        assert server.tiffin.ok("fsck") == "nothing is damaged"
        (listed,) = (
            path
            for path in (server.tiffin.root / "oci/blobs/sha256").iterdir()
            if b"image.index.v1" in path.read_bytes()[:200]
        )
        damage(listed)
        assert f"blob sha256:{listed.name} does not hash" in server.tiffin("fsck").stdout
    finally:
        server.close()
    said = server.tiffin.ok("fsck", "--repair")
    assert "forgotten" in said or "served no longer" in said
    assert server.tiffin.ok("fsck") == "nothing is damaged"
    assert named(server.tiffin)


def test_memory_stays_bounded_whatever_a_layer_holds(tiffin: Tiffin, tmp_path: Path) -> None:
    """A layer of 200 MB in one file, and one of 20,000 files."""
    oci = Oci()
    oci.image(
        "docker.io/library/large:1",
        [tar({"zeros": bytes(200_000_000)}), tar({f"d/{n}": b"" for n in range(20_000)})],
    )
    (tmp_path / "large.tar").write_bytes(oci.tar())
    tiffin.ok("load", "-i", tmp_path / "large.tar")
    program = "import sys\nfrom tiffin.cli.main import main\nassert main(sys.argv[1:]) == 0\n"
    program += (
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])\n"
    )
    words = tiffin.argv("fsck", "-q")[3:]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000  # KiB
