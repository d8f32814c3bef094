"""Random trees go round unchanged, and random layers come out as a model of thirty lines says."""

import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.suites.archives import apply_to, archive, described, directory_fd, entry
from tiffin.layer.apply import extract
from tiffin.layer.diff import tree_tar
from tiffin.layer.tarstream import Entry, Kind

pytestmark = pytest.mark.root
OPAQUE = "trusted.overlay.opaque"
patient = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])

# -- round trip ----------------------------------------------------------------------------------------------

names = st.one_of(
    st.sampled_from(["a", "b", ".wh.c", "caf\udce9", "é", "new\nline", "-dash", "n" * 255, " "]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60),
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) <= 255)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
times = st.integers(0, 4 * 10**18)
ids = st.one_of(st.integers(0, 2**32 - 2), st.sampled_from([0, 2**21 - 1, 2**21, 2**31]))
xattrs = st.dictionaries(
    st.sampled_from(["user.a", "user.b=c", "user.é"]), st.binary(max_size=50), max_size=2
)


@st.composite
def members(draw) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from(list(Kind)))
    item = Entry(draw(paths), kind, draw(st.integers(0, 0o7777)), draw(ids), draw(ids), mtime_ns=draw(times))
    if kind is Kind.SYMLINK:
        item.linkname = draw(paths)
    elif kind in (Kind.CHAR, Kind.BLOCK):
        item.major, item.minor = draw(st.integers(1, 4095)), draw(st.integers(0, 2**20 - 1))
    elif kind in (Kind.FILE, Kind.DIRECTORY):
        item.xattrs = draw(xattrs)
    return item, draw(st.binary(max_size=2000)) if kind is Kind.FILE else b""


def without_conflicts(drawn: list[tuple[Entry, bytes]]) -> list[tuple[Entry, bytes]]:
    """Members that make a tree: none below another that is no directory, hard links to files that are there."""
    kept: list[tuple[Entry, bytes]] = []
    no_directories: set[str] = set()
    directories: set[str] = set()
    files: list[str] = []
    for item, data in drawn:
        above = [item.name[:end] for end, letter in enumerate(item.name) if letter == "/"]
        if item.name in no_directories or item.name in directories or no_directories & set(above):
            continue
        if item.kind is Kind.HARDLINK:
            if not files:
                continue
            item.linkname = files[-1]
        directories.update(above)
        (directories if item.kind is Kind.DIRECTORY else no_directories).add(item.name)
        if item.kind is Kind.FILE:
            files.append(item.name)
        kept.append((item, data))
    return kept


@patient
@given(st.lists(members(), max_size=12).map(without_conflicts))
def test_a_tree_written_and_unpacked_is_the_same_tree(drawn):
    base = Path(tempfile.mkdtemp())
    try:
        with directory_fd(base / "one") as fd:
            extract(io.BytesIO(archive(*drawn)), fd)
            out = io.BytesIO()
            tree_tar(fd, out)
        with directory_fd(base / "two") as fd:
            extract(io.BytesIO(out.getvalue()), fd)
            again = io.BytesIO()
            tree_tar(fd, again)
        assert described(base / "two", times=True) == described(base / "one", times=True)
        assert again.getvalue() == out.getvalue()
        for item, _ in drawn:
            status = (base / "one" / item.name).lstat()
            if item.kind is not Kind.HARDLINK:
                assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (
                    item.uid,
                    item.gid,
                    item.mtime_ns,
                )
    finally:
        shutil.rmtree(base)  # noqa: TID251 - the test's own tree


# -- a layer against a model ---------------------------------------------------------------------------------

FILE, WHITEOUT, DIRECTORY, OPAQUE_DIRECTORY = "file", "whiteout", "dir", "opaque dir"
steps = st.tuples(
    st.sampled_from(["file", "dir", "whiteout", "opaque"]),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join),
)


class Model:
    """What a layer directory holds after each step."""

    def __init__(self) -> None:
        self.tree: dict[str, str] = {}

    def parents(self, path: str) -> bool:
        """Make the directories above; False when something else is in the way."""
        parts = path.split("/")[:-1]
        above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if any(self.tree.get(part) == FILE for part in above):
            return False
        for part in above:
            self.directory(part)
        return True

    def directory(self, path: str) -> None:
        there = self.tree.get(path)
        if there not in (DIRECTORY, OPAQUE_DIRECTORY):
            self.tree[path] = OPAQUE_DIRECTORY if there == WHITEOUT else DIRECTORY

    def step(self, what: str, path: str) -> bool:
        if not self.parents(path) or (what == "opaque" and self.tree.get(path) == FILE):
            return False
        if what == "file":
            self.tree = {name: kind for name, kind in self.tree.items() if not name.startswith(path + "/")}
            self.tree[path] = FILE
        elif what == "dir":
            self.directory(path)
        elif what == "opaque":
            self.tree[path] = OPAQUE_DIRECTORY
        elif path not in self.tree:
            self.tree[path] = WHITEOUT
        elif self.tree[path] == DIRECTORY:
            self.tree[path] = OPAQUE_DIRECTORY
        return True


def member_of(what: str, path: str) -> Entry:
    above, _, base = path.rpartition("/")
    name = {"whiteout": f"{above}/.wh.{base}", "opaque": f"{path}/.wh..wh..opq"}.get(what, path)
    return entry(name, Kind.DIRECTORY if what == "dir" else Kind.FILE)


def shape(root: Path) -> dict[str, str]:
    def of(path: Path, line: str) -> str:
        kind = line.split(" ")[0]
        return OPAQUE_DIRECTORY if kind == DIRECTORY and OPAQUE in os.listxattr(path) else kind

    return {name: of(root / name, line) for name, line in described(root).items()}


@patient
@given(st.lists(steps, max_size=15))
def test_a_layer_comes_out_as_the_model_says(drawn):
    model = Model()
    done = [member_of(what, path) for what, path in drawn if model.step(what, path)]
    base = Path(tempfile.mkdtemp())
    try:
        apply_to(base / "layer", archive(*done))
        assert shape(base / "layer") == model.tree
    finally:
        shutil.rmtree(base)  # noqa: TID251 - the test's own tree
