"""Where COPY and ADD put what, and with which owner, mode and time."""

import io
import os
import stat
from pathlib import Path

import pytest

from tests.building import Bench
from tiffin.errors import DockerfileError
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.tarwriter import TarWriter

pytestmark = pytest.mark.root

OLD = 978_307_200 * 10**9  # 2001-01-01


def looks(path: Path) -> tuple[int, int, str]:
    status = path.lstat()
    return status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode))


def small_tar() -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    writer.add(Entry("sub", Kind.DIRECTORY, mode=0o750, uid=77, gid=88, mtime_ns=OLD))
    writer.add(Entry("sub/x", Kind.FILE, mode=0o640, uid=77, gid=88, size=2, mtime_ns=OLD), b"x\n")
    writer.add(Entry("sub/link", Kind.SYMLINK, linkname="x", mtime_ns=OLD))
    writer.finish()
    return out.getvalue()


@pytest.fixture
def filled(based: Bench) -> Bench:
    based.write("f", "f\n", 0o640)
    based.write("d/sub/x", "x\n")
    based.write("d/run.sh", "#!/bin/sh\n", 0o4755)
    (based.context / "d" / "link").symlink_to("sub/x")
    (based.context / "d" / "out").symlink_to("/etc/shadow")
    (based.context / "d" / "sub").chmod(0o750)
    for name in ("f", "d", "d/sub", "d/sub/x"):
        os.chown(based.context / name, 1000, 1001)
    for name in ("f", "d/sub/x", "d/sub", "d"):
        os.utime(based.context / name, ns=(OLD, OLD))
    return based


def test_files_of_the_context_become_roots_and_keep_mode_and_time(filled: Bench) -> None:
    filled.build("FROM base\nCOPY f /f\nCOPY d /new")
    with filled.tree() as top:
        assert looks(top / "f") == (0, 0, "0o640")
        assert (top / "f").stat().st_mtime_ns == OLD
        assert looks(top / "new" / "sub") == (0, 0, "0o750")
        assert (top / "new" / "sub").stat().st_mtime_ns == OLD
        assert looks(top / "new" / "run.sh") == (0, 0, "0o4755")
        assert (top / "new" / "sub" / "x").read_text() == "x\n"
        assert os.readlink(top / "new" / "link") == "sub/x"
        assert os.readlink(top / "new" / "out") == "/etc/shadow"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("COPY f /made/", "made/f"),
        ("COPY f /made/by/name", "made/by/name"),
        ("COPY f .", "w/f"),
        ("COPY f rel", "w/rel"),
        ("COPY f rel/", "w/rel/f"),
        ("COPY f /tmp", "tmp/f"),
        ("COPY f d /many/", "many/f"),
        ("COPY f d /many/", "many/sub/x"),
        ("COPY d/ /dir", "dir/sub/x"),
        ("COPY d/sub/* /globbed/", "globbed/x"),
        ("COPY ?/sub/[a-z] /globbed/", "globbed/x"),
        ('COPY ["f", "/a b/"]', "a b/f"),
        ("COPY f /lib/f", "usr/lib/f"),
        ("COPY d/link /flat", "flat"),
        ("COPY f /../up", "up"),
        ("ADD f /added/", "added/f"),
        ("COPY <<EOF /here\ntext\nEOF", "here"),
        ("COPY <<one <<two /heres/\n1\none\n2\ntwo", "heres/two"),
    ],
)
def test_a_destination_is_a_directory_when_it_ends_or_exists_as_one(
    filled: Bench, line: str, path: str
) -> None:
    filled.build(f"FROM base\nWORKDIR /w\n{line}")
    with filled.tree() as top:
        assert (top / path).is_file()
        assert not (top / path).is_symlink()
        assert (top / "lib").is_symlink()


def test_a_here_document_is_a_file_with_its_variables_replaced_unless_quoted(based: Bench) -> None:
    based.build("FROM base\nENV A=1\nCOPY <<a <<'b' /x/\n$A\na\n$A\nb")
    with based.tree() as top:
        assert (top / "x" / "a").read_text() == "1\n"
        assert (top / "x" / "b").read_text() == "$A\n"
        assert looks(top / "x" / "a") == (0, 0, "0o644")


@pytest.mark.parametrize(
    ("chown", "owner"),
    [
        ("app", (1234, 2345)),
        ("app:staff", (1234, 50)),
        ("1234", (1234, 1234)),
        ("77", (77, 77)),
        ("77:88", (77, 88)),
        ("app:88", (1234, 88)),
        ("0:staff", (0, 50)),
    ],
)
def test_chown_takes_names_from_the_image_and_numbers_as_they_are(
    filled: Bench, chown: str, owner: tuple[int, int]
) -> None:
    filled.build(f"FROM base\nCOPY --chown={chown} d f /a/b/")
    with filled.tree() as top:
        for name in ("a", "a/b", "a/b/f", "a/b/sub", "a/b/sub/x", "a/b/link"):
            assert looks(top / name)[:2] == owner, name
        assert looks(top / "a" / "b" / "run.sh")[2] == "0o4755"
        assert looks(top / "etc")[:2] == (0, 0)


@pytest.mark.parametrize("chown", ["nobody-here", "app:no-group", "-1", "4294967296", "2147483648:0"])
def test_an_owner_that_is_not_there_is_an_error_and_never_root(filled: Bench, chown: str) -> None:
    with pytest.raises(DockerfileError, match="Dockerfile:2: COPY: "):
        filled.build(f"FROM base\nCOPY --chown={chown} f /f")


def test_chmod_is_for_everything_copied(filled: Bench) -> None:
    filled.build("FROM base\nCOPY --chmod=0711 d /d\nCOPY --chmod=600 <<x /x\nhi\nx")
    with filled.tree() as top:
        assert looks(top / "d" / "sub")[2] == "0o711"
        assert looks(top / "d" / "sub" / "x")[2] == "0o711"
        assert looks(top / "x")[2] == "0o600"


def test_a_destination_that_stands_stays_as_it_is_and_directories_below_become_those_copied(
    filled: Bench,
) -> None:
    filled.build(
        "FROM base\nRUN mkdir -p /t/sub && chmod 711 /t /t/sub && chown 5:6 /t && touch -d @1012608000 /t/sub /t\n"
        "COPY d /t\nCOPY f /t/"
    )
    with filled.tree() as top:
        assert looks(top / "t") == (5, 6, "0o711")
        assert looks(top / "t" / "sub") == (0, 0, "0o750")
        assert (top / "t").stat().st_mtime == 1012608000
        assert (top / "t" / "sub").stat().st_mtime_ns == (filled.context / "d" / "sub").stat().st_mtime_ns
        assert (top / "tmp").stat().st_mode & 0o7777 == 0o1777


@pytest.mark.parametrize("below", ["", "RUN mkdir /h && echo >/h/x\n"], ids=["new", "merged"])
def test_hard_links_of_a_stage_stay_one_file(based: Bench, below: str) -> None:
    based.build(
        "FROM base AS made\n"
        "RUN mkdir -p /h/d && echo same >/h/d/b && ln /h/d/b /h/d/c && ln /h/d/b /h/a && echo >/h/z\n"
        f"FROM base\n{below}COPY --from=made /h /h\n"
    )
    with based.tree() as top:
        one, *others = ((top / "h" / name).stat() for name in ("a", "d/b", "d/c"))
        assert one.st_nlink == 3 and {each.st_ino for each in others} == {one.st_ino}
        assert (top / "h/z").stat().st_nlink == 1 and (top / "h/d/c").read_text() == "same\n"


def test_copied_from_a_stage_files_keep_their_owners(filled: Bench) -> None:
    filled.build(
        "FROM base AS one\nCOPY d /d\nRUN chown -R 5:6 /d && ln -s d /alias\n"
        "FROM base\nCOPY --from=one /alias /x/\nCOPY --from=0 d/sub/x /y\nCOPY --chown=7 --from=one /d /z"
    )
    with filled.tree() as top:
        assert looks(top / "x" / "sub") == (5, 6, "0o750")
        assert looks(top / "y")[:2] == (5, 6)
        assert looks(top / "z" / "sub" / "x")[:2] == (7, 7)


def test_copy_from_an_image_that_is_no_stage(based: Bench) -> None:
    based.build("FROM scratch\nCOPY --from=base /etc/passwd /bin/l? /")
    with based.tree() as top:
        assert sorted(os.listdir(top)) == ["ln", "ls", "passwd"]


def test_a_link_in_the_place_of_a_file_is_written_through_inside_the_image(filled: Bench) -> None:
    filled.build(
        "FROM base\nRUN echo old >/target && ln -s /target /link && ln -s /nowhere/at/all /dangling\n"
        "COPY f /link\nCOPY f /dangling"
    )
    with filled.tree() as top:
        assert (top / "link").is_symlink()
        assert (top / "target").read_text() == "f\n"
        assert (top / "nowhere" / "at" / "all").read_text() == "f\n"


def test_a_directory_meets_a_link_to_a_directory_inside_the_image(filled: Bench) -> None:
    filled.write("tree/lib/module", "m")
    filled.build("FROM base\nCOPY tree /")
    with filled.tree() as top:
        assert (top / "lib").is_symlink()
        assert (top / "usr" / "lib" / "module").read_text() == "m"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("COPY f /etc/passwd/x", "not a directory"),
        ("COPY d /etc/passwd", "not a directory"),
        ("COPY d/sub/x f /etc/passwd/", "not a directory"),
        ("COPY over /", "over the directory 'etc'"),
        ("COPY under /etc", "over a file"),
    ],
)
def test_files_and_directories_do_not_replace_each_other(filled: Bench, line: str, text: str) -> None:
    filled.write("over/etc", "a file")
    filled.write("under/passwd/x", "below what is a file")
    with pytest.raises(DockerfileError, match=text):
        filled.build(f"FROM base\n{line}")


def test_a_file_replaces_a_file_and_a_link_within_a_directory(filled: Bench) -> None:
    filled.write("again/sub/x", "new")
    filled.write("again/link", "no link now")
    filled.build("FROM base\nCOPY d /d\nCOPY again /d")
    with filled.tree() as top:
        assert (top / "d" / "sub" / "x").read_text() == "new"
        assert (top / "d" / "link").read_text() == "no link now"
        assert not (top / "d" / "link").is_symlink()


@pytest.mark.parametrize("how", ["tar", "gz", "bz2", "xz", "zst"])
def test_add_unpacks_archives_with_their_own_owners(based: Bench, how: str) -> None:
    import bz2
    import gzip
    import lzma

    import zstandard

    pack = {
        "tar": lambda data: data,
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": zstandard.ZstdCompressor().compress,
    }
    based.write("archive.bin", pack[how](small_tar()))
    based.build(
        "FROM base\nADD archive.bin /lib/new\nADD --chown=9:10 archive.bin /o\nCOPY archive.bin /copied"
    )
    with based.tree() as top:
        assert looks(top / "usr/lib/new/sub") == (77, 88, "0o750")
        assert looks(top / "usr/lib/new/sub/x") == (77, 88, "0o640")
        assert os.readlink(top / "usr/lib/new/sub/link") == "x"
        assert looks(top / "o/sub/x")[:2] == (9, 10)
        assert (top / "copied").is_file()


def test_add_copies_what_is_compressed_but_no_archive(based: Bench) -> None:
    import gzip

    data = gzip.compress(b"just text " * 100)
    based.write("t.tar.gz", data)
    based.write("empty.tar", b"")
    based.build("FROM base\nADD t.tar.gz empty.tar /x/")
    with based.tree() as top:
        assert (top / "x" / "t.tar.gz").read_bytes() == data
        assert (top / "x" / "empty.tar").read_bytes() == b""


def test_a_damaged_archive_is_an_error(based: Bench) -> None:
    based.write("a.tar", small_tar()[:-1400])
    with pytest.raises(DockerfileError, match="Dockerfile:2: ADD: "):
        based.build("FROM base\nADD a.tar /x/")


def test_a_sparse_file_stays_sparse_and_its_content_the_same(based: Bench) -> None:
    path = based.write("sparse")
    with path.open("r+b") as file:
        file.seek(32 << 20)
        file.write(b"end")
        file.truncate(64 << 20)
    based.build("FROM base\nCOPY sparse /")
    with based.tree() as top:
        copied = top / "sparse"
        assert copied.stat().st_size == 64 << 20
        assert copied.stat().st_blocks * 512 < 8 << 20
        with copied.open("rb") as file:
            file.seek(32 << 20)
            assert file.read(4) == b"end\0"


def test_attributes_that_travel_and_those_that_do_not(based: Bench) -> None:
    path = based.write("tool", "x", 0o755)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(path, "security.capability", capability)
    os.setxattr(path, "user.note", b"kept")
    os.setxattr(path, "trusted.overlay.opaque", b"y")
    based.build("FROM base\nCOPY tool /tool")
    with based.tree() as top:
        assert os.getxattr(top / "tool", "security.capability") == capability
        assert os.getxattr(top / "tool", "user.note") == b"kept"
        assert "trusted.overlay.opaque" not in os.listxattr(top / "tool")


def test_names_that_are_not_unicode_are_copied_as_they_are(based: Bench) -> None:
    based.write("d/plain")
    (based.context / "d" / os.fsdecode(b"caf\xe9\n")).write_text("x")
    based.build("FROM base\nCOPY d /d")
    with based.tree() as top:
        assert os.listdir(os.fsencode(top / "d")).count(b"caf\xe9\n") == 1


def test_a_directory_made_in_a_layer_hides_nothing_in_other_images(based: Bench) -> None:
    """The same layer, made over a base without the directory, lies over one that has it."""
    based.write("d/f", "f")
    os.utime(based.context / "d" / "f", ns=(OLD, OLD))
    os.utime(based.context / "d", ns=(OLD, OLD))
    based.build("FROM base\nCOPY d /new", tags=("first",))
    based.build("FROM base\nRUN mkdir /new && echo x >/new/mine && touch -d @978307200 /new", tags=("other",))
    based.build("FROM other\nCOPY d /new", tags=("second",))
    first, second = (based.images.resolve(name).diff_ids[-1] for name in ("first", "second"))
    assert first == second
    with based.tree("second") as top:
        assert sorted(os.listdir(top / "new")) == ["f", "mine"]


def test_an_empty_directory_of_the_image_is_filled_and_keeps_its_own_metadata(filled: Bench) -> None:
    filled.build(
        "FROM base\nRUN mkdir /app && chown 5:6 /app && chmod 711 /app && touch -d @1012608000 /app\nCOPY d /app"
    )
    assert filled.layer_names() == ["app", "app/link", "app/out", "app/run.sh", "app/sub", "app/sub/x"]
    with filled.tree() as top:
        assert looks(top / "app") == (5, 6, "0o711")
        assert (top / "app").stat().st_mtime == 1012608000
        assert (top / "app" / "sub" / "x").read_text() == "x\n"
    layer = filled.layout.layer(filled.images.resolve("built").diff_ids[-1])
    assert "trusted.overlay.opaque" not in os.listxattr(f"{layer}/app")


def test_the_whole_context_on_scratch_is_the_image(bench: Bench) -> None:
    bench.write("a/b", "b")
    bench.write("c", "c")
    bench.build("FROM scratch\nCOPY . /")
    assert bench.layer_names() == ["a", "a/b", "c"]
    bench.build("FROM scratch\nCOPY . /deep/er/")
    assert "deep/er/a/b" in bench.layer_names()
