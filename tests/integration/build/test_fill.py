"""COPY of a large directory: read once, into the upper, the archive and the key."""

import io
import os
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.build.copying.fill import Filler
from tiffin.build.copying.place import Ownership
from tiffin.build.copying.sources import SourceTree
from tiffin.layer.compress import open_decompressed
from tiffin.layer.diff import diff_tar
from tiffin.layer.tarstream import Kind, TarReader

pytestmark = pytest.mark.root

OLD = 978_307_200 * 10**9  # 2001-01-01
MANY = 300
COPY = "FROM base\nCOPY tree /new/tree"


@pytest.fixture
def large(based: Bench) -> Bench:
    for number in range(MANY):
        based.write(f"tree/{number % 7}/{number}", f"{number}\n", 0o644 if number % 2 else 0o600)
    for path in [based.context / "tree", *(based.context / "tree").rglob("*")]:
        os.utime(path, ns=(OLD, OLD))
    return based


def test_the_archive_says_of_every_kind_of_file_what_the_tree_holds(large: Bench) -> None:
    tree = large.context / "tree"
    large.write("tree/0/tool", "#!/bin/sh\n", 0o4755)
    large.write("tree/big", bytes(range(256)) * 4096)
    with large.write("tree/sparse").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(9 << 20)
    (tree / "link").symlink_to("../0")
    (tree / "0" / os.fsdecode(b"caf\xe9")).write_text("x")
    (tree / "0" / "\N{PILE OF POO}").write_text("x")
    (tree / "empty").mkdir(0o711)
    os.mkfifo(tree / "fifo")
    os.setxattr(tree / "0" / "tool", "user.note", b"kept")
    large.build("FROM base\nCOPY --chown=7:8 tree /new/tree")

    layer = large.images.layers(large.images.resolve("built"))[-1]
    with large.content.open(layer.blob) as blob, open_decompressed(blob) as plain:
        archive = plain.readall()
    fd = os.open(large.layout.layer(layer.diff_id), os.O_RDONLY | os.O_DIRECTORY)
    try:
        again = io.BytesIO()
        diff_tar(fd, again)
    finally:
        os.close(fd)
    assert archive == again.getvalue()
    entries = {entry.name: entry for entry in TarReader(io.BytesIO(archive))}
    assert len(entries) == MANY + 7 + 2 + 8
    assert entries["new/tree/0/tool"].mode == 0o4755
    assert entries["new/tree/0/tool"].xattrs == {"user.note": b"kept"}
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(7, 8)}
    assert entries["new/tree/fifo"].kind is Kind.FIFO
    assert entries["new/tree/1/1"].mtime_ns == OLD


def test_the_size_of_the_layer_is_that_of_its_files(large: Bench) -> None:
    large.build(COPY)
    layer = large.images.resolve("built").diff_ids[-1]
    ((size,),) = large.store.db.execute("SELECT size FROM layers WHERE diff_id = ?", (layer,)).fetchall()
    assert size == sum(len(f"{number}\n") for number in range(MANY))


def test_a_key_made_of_what_was_copied_is_the_key_of_what_is_there(large: Bench) -> None:
    first = large.build(COPY)
    assert large.executed
    assert large.build(COPY) == first
    assert not large.executed
    for name in os.listdir(large.layout.cache):  # the digests that the worker kept
        os.unlink(f"{large.layout.cache}/{name}")
    assert large.build(COPY) == first
    assert not large.executed


def test_a_changed_file_is_copied_anew_and_changed_back_found_again(large: Bench) -> None:
    first = large.build(COPY)
    path = large.write("tree/0/0", "changed")
    assert large.build(COPY) != first
    assert large.executed
    with large.tree() as top:
        assert (top / "new/tree/0/0").read_text() == "changed"
        assert (top / "new/tree/1/1").read_text() == "1\n"
    path.write_text("0\n")
    path.chmod(0o600)
    assert large.build(COPY) == first
    assert not large.executed


def test_without_the_cache_it_is_copied_and_found_afterwards(large: Bench) -> None:
    large.build(COPY)
    large.build(COPY, no_cache=True)
    assert large.executed
    large.build(COPY)
    assert not large.executed


def test_two_stages_that_copy_the_same_directory_copy_it_once(large: Bench) -> None:
    text = "FROM base AS a\nCOPY tree /t\nFROM base AS b\nCOPY tree /t\nFROM base\n"
    text += "COPY --from=a /t/1 /one\nCOPY --from=b /t/2 /two"
    large.build(text)
    assert len([name for name in large.executed if "COPY tree" in name]) == 1
    assert len([name for name in large.cached if "COPY tree" in name]) == 1


def test_the_same_large_copy_elsewhere_is_another_step(large: Bench) -> None:
    large.build(COPY)
    large.build("FROM base\nCOPY tree /elsewhere")
    assert large.executed
    with large.tree() as top:
        assert (top / "elsewhere/1/1").read_text() == "1\n"


@pytest.mark.parametrize("change", ["grown", "shrunk", "rewritten"])
def test_a_file_that_changes_under_the_copy_is_noticed(tmp_path: Path, change: str) -> None:
    source, upper = tmp_path / "source", tmp_path / "upper"
    for directory in (source, upper, upper / "to"):
        directory.mkdir()
    (source / "f").write_text("as it was")
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, upper)]
    try:
        (picked,) = SourceTree(fds[0], "the context").pick(".")
        os.utime(source / "f", ns=(OLD, OLD))  # another change time, however fast we are
        with (source / "f").open("w") as file:
            file.write({"grown": "as it was, and more", "shrunk": "as", "rewritten": "as it is!"}[change])
        seen: list[str] = []
        filler = Filler(fds[1], "/to", Ownership((0, 0), None), lambda *_: seen.append("f"))
        out = io.BytesIO()
        diff_tar(fds[1], out, (), filler.growth(fds[0], picked))
    finally:
        for fd in fds:
            os.close(fd)
    assert not filler.steady
    out.seek(0)
    reader = TarReader(out)
    stored = {entry.name: b"".join(bytes(piece) for piece in reader.chunks()) for entry in reader}
    assert stored["to/f"] == (upper / "to" / "f").read_bytes()
