"""The flags of COPY and ADD: --link, --parents, --exclude, --chmod, --unpack."""

import io
import os
import stat
import tarfile  # noqa: TID251 - an archive as others make it
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.errors import DockerfileError

pytestmark = pytest.mark.root


def files_below(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# ---- --link


def test_a_linked_layer_is_the_same_on_any_base_and_taken_from_the_cache_on_another(based: Bench) -> None:
    based.write("f", "x")
    based.build("FROM base\nCOPY --link f /a/b/f", tags=("one",))
    based.build("FROM base\nRUN echo other >/other\nCOPY --link f /a/b/f", tags=("two",))
    assert [name for name in based.cached if "--link" in name] != []
    assert based.images.resolve("one").diff_ids[-1] == based.images.resolve("two").diff_ids[-1]
    with based.tree("two") as top:
        assert (top / "other").exists()
        assert (top / "a" / "b" / "f").read_text() == "x"


def test_a_linked_copy_follows_no_link_of_what_is_below(based: Bench) -> None:
    based.write("f", "x")
    based.build("FROM base\nRUN ln -s /etc /elsewhere\nCOPY --link f /elsewhere/f")
    with based.tree() as top:
        assert not (top / "elsewhere").is_symlink()
        assert not (top / "etc" / "f").exists()


def test_a_linked_copy_knows_owners_by_number_alone(based: Bench) -> None:
    based.write("f", "x")
    based.build("FROM base\nCOPY --link --chown=7:8 f /f")
    with based.tree() as top:
        assert ((top / "f").lstat().st_uid, (top / "f").lstat().st_gid) == (7, 8)
    with pytest.raises(DockerfileError, match="give numbers"):
        based.build("FROM base\nCOPY --link --chown=app f /f")


def test_a_linked_copy_from_a_stage(based: Bench) -> None:
    text = "FROM base AS made\nRUN echo {0} >/out\nFROM base\nRUN echo {1} >/noise\nCOPY --link --from=made /out /out"
    based.build(text.format("same", "a"))
    based.build(text.format("same", "b"))
    assert [name for name in based.executed if "--link" in name] == []
    with based.tree() as top:
        assert (top / "out").read_text() == "same\n"


# ---- --parents


@pytest.fixture
def project(based: Bench) -> Bench:
    for name in (
        "src/a/one.go",
        "src/a/two.go",
        "src/b/one.go",
        "src/b/deep/three.go",
        "src/go.mod",
        "x/y/z.txt",
    ):
        based.write(name, name)
    (based.context / "src" / "a").chmod(0o750)
    return based


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("src/a/one.go", ["src/a/one.go"]),
        ("./src/a/one.go x/y/z.txt", ["src/a/one.go", "x/y/z.txt"]),
        ("src/*/one.go", ["src/a/one.go", "src/b/one.go"]),
        ("src/**/*.go", ["src/a/one.go", "src/a/two.go", "src/b/deep/three.go", "src/b/one.go"]),
        ("**/three.go", ["src/b/deep/three.go"]),
        ("src/./a/one.go", ["a/one.go"]),
        ("./src/./b", ["b/deep/three.go", "b/one.go"]),
        ("src/b/", ["src/b/deep/three.go", "src/b/one.go"]),
        ("src/./**/one.go x/./y", ["a/one.go", "b/one.go", "y/z.txt"]),
    ],
)
def test_parents_keeps_the_path_of_each_source(project: Bench, sources: str, expected: list[str]) -> None:
    project.build(f"FROM scratch\nCOPY --parents {sources} /out/")
    with project.tree() as top:
        assert files_below(top / "out") == expected


def test_parents_have_the_modes_that_they_have(project: Bench) -> None:
    project.build("FROM scratch\nCOPY --parents src/a/one.go /out/")
    with project.tree() as top:
        assert mode_of(top / "out" / "src" / "a") == 0o750
        assert mode_of(top / "out") == 0o755


def test_parents_from_a_stage_and_with_excludes(project: Bench) -> None:
    project.build(
        "FROM base AS made\nCOPY src /src\nFROM scratch\n"
        "COPY --parents --from=made --exclude=**/two.go /src/a /src/./b/* /"
    )
    with project.tree() as top:
        assert files_below(top) == ["b/deep/three.go", "b/one.go", "src/a/one.go"]


def test_parents_without_a_match_is_an_error(project: Bench) -> None:
    with pytest.raises(DockerfileError, match=r"Dockerfile:2.*'src/\*\.rs'"):
        project.build("FROM scratch\nCOPY --parents src/*.rs /")


def test_parents_go_by_the_ignore_rules(project: Bench) -> None:
    project.write(".dockerignore", "src/a\n**/deep\n")
    project.build("FROM scratch\nCOPY --parents src/**/*.go /")
    with project.tree() as top:
        assert files_below(top) == ["src/b/one.go"]


# ---- --exclude


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--exclude=*.txt . /out/", ["a.md", "sub/b.txt", "sub/c.md"]),
        ("--exclude=**/*.txt . /out/", ["a.md", "sub/c.md"]),
        ("--exclude=**/*.txt --exclude=!sub/b.txt . /out/", ["a.md", "sub/b.txt", "sub/c.md"]),
        ("--exclude=sub . /out/", ["a.md", "a.txt"]),
        ("--exclude=*.txt a* /out/", ["a.md"]),
        ("--exclude=b.txt sub /out/", ["c.md"]),
        ("--exclude=*.txt --exclude=*.md a* sub /out/", []),
    ],
)
def test_exclude_leaves_out_what_matches(based: Bench, flags: str, expected: list[str]) -> None:
    for name in ("a.txt", "a.md", "sub/b.txt", "sub/c.md"):
        based.write(name, name)
    based.build(f"FROM scratch\nCOPY {flags}")
    with based.tree() as top:
        assert files_below(top / "out") == expected


def test_exclude_counts_for_the_cache_by_what_it_leaves(based: Bench) -> None:
    based.write("d/keep", "1")
    based.write("d/drop", "1")
    text = "FROM base\nCOPY --exclude=drop d /d"
    based.build(text)
    based.write("d/drop", "2")
    based.build(text)
    assert len(based.cached) == 1
    based.write("d/keep", "2")
    based.build(text)
    assert based.cached == []


# ---- --chmod


@pytest.mark.parametrize(
    ("mode", "file", "program", "directory"),
    [
        ("0600", 0o600, 0o600, 0o600),
        ("u=rwX,go=rX", 0o644, 0o755, 0o755),
        ("go-rwx", 0o600, 0o700, 0o700),
        ("a+x", 0o751, 0o755, 0o755),
        ("u=rw,g=u,o=", 0o660, 0o660, 0o660),
        ("4755", 0o4755, 0o4755, 0o4755),
    ],
)
def test_chmod_octal_and_symbolic(based: Bench, mode: str, file: int, program: int, directory: int) -> None:
    based.write("d/f", "x", 0o640)
    based.write("d/p", "x", 0o755)
    based.write("d/s/x", "x", 0o640)
    (based.context / "d" / "s").chmod(0o755)
    based.build(f"FROM scratch\nCOPY --chmod={mode} d /d\nCOPY --chmod={mode} d/f d/p /many/")
    with based.tree() as top:
        assert mode_of(top / "d" / "f") == mode_of(top / "many" / "f") == file
        assert mode_of(top / "d" / "p") == program
        assert mode_of(top / "d" / "s") == directory


# ---- --unpack


def archive(entries: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("ADD a.tgz /out/", ["in/x"]),
        ("ADD --unpack=true a.tgz /out/", ["in/x"]),
        ("ADD --unpack=false a.tgz /out/", ["a.tgz"]),
        ("COPY a.tgz /out/", ["a.tgz"]),
    ],
)
def test_an_archive_is_unpacked_by_add_unless_it_says_no(
    based: Bench, instruction: str, expected: list[str]
) -> None:
    based.write("a.tgz", archive({"in/x": "x"}))
    based.build(f"FROM scratch\n{instruction}")
    with based.tree() as top:
        assert files_below(top / "out") == expected


def test_links_of_a_stage_are_left_where_they_are_by_parents(based: Bench) -> None:
    os.symlink("/etc/passwd", based.context / "link")
    based.write("d/f", "x")
    based.build("FROM scratch\nCOPY --parents link d/f /out/")
    with based.tree() as top:
        assert os.readlink(top / "out" / "link") == "/etc/passwd"
