"""Looking after images: lists, filters, templates, the tree, and what prune removes."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root


def build(tiffin: Tiffin, directory: Path, name: str, *lines: str) -> str:
    """Build an image; its ID."""
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    words = ["-t", name] if name else []
    return tiffin.ok("build", "-q", "--network", "none", *words, directory)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """busybox, and on it `web` (1, 2), `registry.example:5000/team/api:3` and one without a name."""
    where = tmp_path_factory.mktemp("context")
    with fresh_engine(tmp_path_factory.mktemp("engine")) as tiffin:
        one = ("FROM busybox", "LABEL stage=test team=a", "RUN echo one > /one")
        build(tiffin, where, "web:1", *one)
        build(tiffin, where, "web:2", *one, "RUN echo two > /two", "LABEL stage=live")
        build(tiffin, where, "registry.example:5000/team/api:3", "FROM web:1", "LABEL team=b")
        build(tiffin, where, "", "FROM busybox", "RUN head -c 100000 /dev/urandom > /noise")
        yield tiffin


def names(tiffin: Tiffin, *words: str) -> list[str]:
    return tiffin.ok("images", *words, "--format", "{{.Repository}}:{{.Tag}}").split()


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ((), ["<none>:<none>", "registry.example:5000/team/api:3", "web:2", "web:1", "busybox:latest"]),
        (("web",), ["web:2", "web:1"]),
        (("web:1",), ["web:1"]),
        (("w?b:[12]",), ["web:2", "web:1"]),
        (("w*",), ["web:2", "web:1"]),
        (("*",), ["web:2", "web:1", "busybox:latest"]),
        (("registry.example:5000/*/*",), ["registry.example:5000/team/api:3"]),
        (("*/*",), []),
        (("--filter", "reference=busybox", "--filter", "reference=*:2"), ["web:2", "busybox:latest"]),
        (("--filter", "dangling=true"), ["<none>:<none>"]),
        (("--filter", "dangling=false", "web"), ["web:2", "web:1"]),
        (("--filter", "label=stage"), ["registry.example:5000/team/api:3", "web:2", "web:1"]),
        (("--filter", "label=stage=test"), ["registry.example:5000/team/api:3", "web:1"]),
        (("--filter", "label=stage=test", "--filter", "label=team=a"), ["web:1"]),
        (("--filter", "label!=stage"), ["<none>:<none>", "busybox:latest"]),
        (("--filter", "before=web:2"), ["web:1", "busybox:latest"]),
        (("--filter", "since=web:2"), ["<none>:<none>", "registry.example:5000/team/api:3"]),
        (("--filter", "since=web:1", "--filter", "before=registry.example:5000/team/api:3"), ["web:2"]),
        (("--filter", "until=1h"), []),
        (("--filter", "until=2100-01-01", "web:1"), ["web:1"]),
        (("--filter", "until=1700000000"), []),
    ],
)  # fmt: skip
def test_filters(stocked: Tiffin, words: tuple[str, ...], want: list[str]) -> None:
    assert names(stocked, *words) == want


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--filter", "color=red"), 125, "invalid filter 'color'; known: before, dangling"),
        (("--filter", "dangling"), 125, "bad format of filter (expected name=value)"),
        (("--filter", "dangling=maybe"), 125, "dangling=maybe"),
        (("--filter", "before=absent"), 1, "No such image: absent"),
        (("--filter", "until=soon"), 125, "until=soon"),
        (("--filter", "reference=["), 125, "syntax error in pattern"),
        (("--format", "{{"), 1, "template parsing error: template: :1: unclosed action"),
        (("--format", "{{.Nope}}"), 1, "can't evaluate field Nope"),
        (("--tree", "-q"), 1, "--tree cannot be used with"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(stocked: Tiffin, words: tuple[str, ...], code: int, text: str) -> None:
    assert text in stocked.fails(
        "images", *words, code=1 if code == 125 and "bad format" not in text else code
    )


def test_rows_as_json_have_dockers_fields(stocked: Tiffin) -> None:
    rows = [json.loads(line) for line in stocked.ok("images", "--format", "json").splitlines()]
    assert list(rows[0]) == sorted(rows[0])
    assert {
        "Containers",
        "CreatedAt",
        "CreatedSince",
        "Digest",
        "ID",
        "Repository",
        "SharedSize",
        "Size",
        "Tag",
    } <= {*rows[0]}
    assert stocked.ok("images", "-q", "--no-trunc", "web:1") == stocked.ok(
        "images", "--no-trunc", "--format", "{{.ID}}", "web:1"
    )
    text = stocked.ok("images", "web:1", "--format", r"table {{.Repository}}\t{{.Tag}}")
    assert text.splitlines() == ["REPOSITORY   TAG", "web          1"]
    assert stocked.ok("images", "--digests", "web:1").splitlines()[0].split() == [
        "REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE",
    ]  # fmt: skip


def test_the_tree_shows_what_images_share(stocked: Tiffin) -> None:
    text = stocked.ok("images", "--tree")
    lines = text.splitlines()
    width = lines[0].index("IMAGE ID")
    assert [line[:width].rstrip() for line in lines[:-2]] == [
        "IMAGE",
        "busybox:latest",
        "├─ <none>",
        "└─ registry.example:5000/team/api:3",
        "   web:1",
        "   └─ web:2",
    ]
    assert "5 images, 4 layers, " in lines[-1]
    assert "apart they would take" in lines[-1]
    assert stocked.ok("images", "--tree", "absent").splitlines()[-1] == "0 images, 0 layers, 0B"


def test_prune_lists_then_asks_then_removes_only_that(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        empty = disk(tiffin)
        (tmp_path / "noise").write_bytes(os.urandom(1_000_000))
        subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "noise.tar", "noise"], check=True)
        doomed = tiffin.ok("import", tmp_path / "noise.tar")
        before = disk(tiffin)
        assert tiffin("image", "prune", input="n\n").returncode == 1
        assert doomed in tiffin.ok("images", "-q", "--no-trunc")
        done = tiffin("image", "prune", input="y\n")
        assert done.returncode == 0, done.stderr
        listed, _, rest = done.stdout.partition("Are you sure you want to continue? [y/N] ")
        assert listed.startswith("WARNING! This will remove all images without a name:\n")
        assert f"<none>    {doomed.removeprefix('sha256:')[:12]}" in listed
        assert "busybox" not in listed
        lines = rest.splitlines()
        assert lines[:2] == ["Deleted Images:", f"deleted: {doomed}"]
        assert lines[-1].startswith("Total reclaimed space: 2MB")
        assert 2_000_000 < before - disk(tiffin) < 2_020_000
        assert disk(tiffin) == empty
        assert names(tiffin) == ["busybox:latest"]
        assert tiffin.ok("image", "prune", "-f") == "Total reclaimed space: 0B"


def test_prune_a_spares_what_containers_were_made_from(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        build(tiffin, tmp_path / "c", "used", "FROM busybox", "LABEL a=1")
        build(tiffin, tmp_path / "c", "old", "FROM busybox", "LABEL a=2")
        build(tiffin, tmp_path / "c", "kept", "FROM busybox", "LABEL keep=me")
        tiffin.ok("tag", "old", "old:2")
        tiffin.ok("tag", "used", "also-used")
        tiffin.ok("create", "used", "true")
        text = tiffin.ok("image", "prune", "-af", "--filter", "label!=keep", "--filter", "until=2100-01-01")
        assert "untagged: old:2" in text
        assert "untagged: busybox:latest" in text
        assert names(tiffin) == ["kept:latest", "also-used:latest", "used:latest"]
        assert tiffin.ok("run", "--rm", "--network", "none", "kept", "echo", "whole") == "whole"
        assert tiffin.ok("image", "prune", "-af", "--filter", "until=1h") == "Total reclaimed space: 0B"
        tiffin.ok("image", "prune", "-af", "--filter", "label=keep=me")
        assert names(tiffin) == ["also-used:latest", "used:latest"]


def test_a_tag_given_while_prune_asks_is_seen(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        first = build(tiffin, tmp_path / "c", "", "FROM busybox", "LABEL a=1")
        second = build(tiffin, tmp_path / "c", "", "FROM busybox", "LABEL a=2")
        prune = tiffin.start("image", "prune", stderr=subprocess.STDOUT)
        assert prune.stdout is not None
        assert prune.stdin is not None
        seen = b""
        while not seen.endswith(b"[y/N] "):
            piece = os.read(prune.stdout.fileno(), 4096)
            assert piece, seen
            seen += piece
        tiffin.ok("tag", first, "kept")
        third = build(tiffin, tmp_path / "c", "", "FROM busybox", "LABEL a=3")
        out, _ = prune.communicate("y\n", timeout=60)
        assert f"deleted: {second}" in out
        assert set(tiffin.ok("images", "-q", "--no-trunc", "--filter", "dangling=true").split()) == {third}
        assert names(tiffin, "kept") == ["kept:latest"]


def disk(tiffin: Tiffin) -> int:
    """Bytes below the root, but for the database and empty directories."""
    return sum(
        path.lstat().st_size
        for part in ("oci", "layers", "staging")
        for path in (tiffin.root / part).rglob("*")
        if path.is_file() and not path.is_symlink()
    )
