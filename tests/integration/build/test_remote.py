"""What comes from elsewhere: ADD of URLs and of git repositories, contexts by URL, git and stream."""

import io
import subprocess
import tarfile  # noqa: TID251 - an archive as others make it
from pathlib import Path

import pytest

from tests.building import Bench
from tests.integration.build.test_transfer import archive, files_below, mode_of
from tests.webserver import Answer, WebServer, Work
from tiffin.errors import DockerfileError, InvalidArgument, NotFound

pytestmark = pytest.mark.root
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
STAMP = 1445412480


# ---- URLs


def test_a_url_is_a_file_with_the_servers_time_and_mode_0600(based: Bench, web: WebServer) -> None:
    web.answer({"/pkg/tool": Answer(b"the tool", headers={"Last-Modified": DATE})})
    based.build(
        f"FROM base\nADD {web.url}/pkg/tool /named\nADD --chmod=755 --chown=7 {web.url}/pkg/tool /dir/"
    )
    with based.tree() as top:
        assert (top / "named").read_text() == "the tool"
        assert mode_of(top / "named") == 0o600
        assert (top / "named").stat().st_mtime == STAMP
        assert mode_of(top / "dir" / "tool") == 0o755
        assert (top / "dir" / "tool").stat().st_uid == 7


def test_a_url_is_cached_by_what_it_holds_and_not_sent_again_when_the_server_knows_it(
    based: Bench, web: WebServer
) -> None:
    web.answer({"/f": Answer(b"one", etag='"v1"')})
    text = f"FROM base\nADD {web.url}/f /f\nRUN cat /f"
    based.build(text)
    based.build(text)
    assert len(based.cached) == 2
    assert [asked.headers.get("if-none-match") for asked in web.asked] == [None, '"v1"']
    web.answer({"/f": Answer(b"two")})
    based.build(text)
    assert based.cached == []
    with based.tree() as top:
        assert (top / "f").read_text() == "two"


def test_a_file_that_two_urls_hold_is_one_for_the_cache(based: Bench, web: WebServer) -> None:
    web.answer({"/a/f": Answer(b"same"), "/b/f": Answer(b"same")})
    based.build(f"FROM base\nADD {web.url}/a/f /f")
    based.build(f"FROM base\nADD {web.url}/b/f /f")
    assert len(based.cached) == 1


def test_a_checksum_is_held_to_and_spares_the_question(based: Bench, web: WebServer) -> None:
    import hashlib

    web.answer({"/f": Answer(b"right")})
    good = f"sha256:{hashlib.sha256(b'right').hexdigest()}"
    based.build(f"FROM base\nADD --checksum={good} {web.url}/f /f")
    asked = len(web.asked)
    based.build(f"FROM base\nADD --checksum={good} {web.url}/f /f\nRUN true")
    assert len(web.asked) == asked
    wide = f"sha512:{hashlib.sha512(b'right').hexdigest()}"
    based.build(f"FROM base\nADD --checksum={wide} {web.url}/f /f", no_cache=True)
    with pytest.raises(DockerfileError, match="not what --checksum says"):
        based.build(f"FROM base\nADD --checksum=sha256:{'0' * 64} {web.url}/f /f")


def test_an_archive_behind_a_url_is_unpacked_when_asked(based: Bench, web: WebServer) -> None:
    web.answer({"/a.tgz": Answer(archive({"in/x": "x"}))})
    based.build(f"FROM scratch\nADD {web.url}/a.tgz /kept/\nADD --unpack {web.url}/a.tgz /out/")
    with based.tree() as top:
        assert files_below(top) == ["kept/a.tgz", "out/in/x"]


def test_urls_and_files_go_to_one_directory_and_a_redirect_is_followed(based: Bench, web: WebServer) -> None:
    based.write("mine", "m")
    web.answer({"/old": Answer(status=302, headers={"Location": "/new?x=1"})})
    web.answer({"/new": Answer(b"n")})
    based.build(f"FROM scratch\nADD mine {web.url}/old /out/")
    with based.tree() as top:
        assert files_below(top) == ["out/mine", "out/old"]


@pytest.mark.parametrize(("status", "text"), [(404, "there is nothing"), (403, "wants a login")])
def test_a_url_that_gives_nothing_is_said_with_its_line(
    based: Bench, web: WebServer, status: int, text: str
) -> None:
    web.answer({"/f": Answer(b"", status)})
    with pytest.raises(DockerfileError, match=rf"Dockerfile:2: ADD: .*{text}"):
        based.build(f"FROM base\nADD {web.url}/f /f")


def test_a_stage_that_is_not_needed_fetches_nothing(based: Bench, web: WebServer) -> None:
    based.build(f"FROM base AS unused\nADD {web.url}/f /f\nFROM base\nRUN true")
    assert web.asked == []


# ---- git


def test_a_repository_is_its_files_at_a_commit_with_the_commits_time(
    based: Bench, web: WebServer, work: Work
) -> None:
    work.commit({"a": "1", "sub/b": "2"})
    based.build(f"FROM base\nADD {web.url}/git/project.git /src")
    with based.tree() as top:
        assert files_below(top / "src") == ["a", "sub/b"]
        assert mode_of(top / "src" / "a") == 0o644
        assert {path.lstat().st_mtime for path in (top / "src").rglob("*")} == {1_700_000_000}


def test_refs_subdirectories_tags_and_commits(based: Bench, web: WebServer, work: Work) -> None:
    first = work.commit({"sub/f": "first"}, tag="v1")
    work.commit({"sub/f": "second"})
    work.commit({"sub/f": "third"}, to="side/branch")
    url = f"{web.url}/git/project.git"
    based.build(
        f"FROM base\nADD {url} /head\nADD {url}#v1 /tag\nADD {url}#side/branch:sub /branch\n"
        f"ADD {url}#{first}:sub /commit\nADD {url}#:sub /sub"
    )
    with based.tree() as top:
        found = {name: (top / name / "f").read_text() for name in ("branch", "commit", "sub")}
        assert found == {"branch": "third", "commit": "first", "sub": "second"}
        assert (top / "head" / "sub" / "f").read_text() == "second"
        assert (top / "tag" / "sub" / "f").read_text() == "first"


def test_git_is_cached_by_the_commit_and_a_new_one_is_noticed(
    based: Bench, web: WebServer, work: Work
) -> None:
    work.commit({"f": "1"})
    text = f"FROM base\nADD {web.url}/git/project.git /src"
    based.build(text)
    based.build(text)
    assert len(based.cached) == 1
    work.commit({"f": "2"})
    based.build(text)
    assert based.cached == []
    with based.tree() as top:
        assert (top / "src" / "f").read_text() == "2"


def test_the_git_directory_is_kept_when_asked_and_a_commit_can_be_demanded(
    based: Bench, web: WebServer, work: Work
) -> None:
    commit = work.commit({"f": "1"})
    url = f"{web.url}/git/project.git"
    based.build(f"FROM base\nADD --keep-git-dir=true --checksum={commit[:12]} {url} /src")
    with based.tree() as top:
        assert (top / "src" / ".git" / "HEAD").exists()
        assert url not in (top / "src" / ".git" / "config").read_text()
    with pytest.raises(DockerfileError, match="the reference is at"):
        based.build(f"FROM base\nADD --checksum={'0' * 40} {url} /src")


def test_a_ref_or_subdirectory_that_is_not_there(based: Bench, web: WebServer, work: Work) -> None:
    work.commit({"f": "1"})
    for fragment, text in (
        ("nope", "has no 'nope'"),
        (":nope", "'nope' is no directory"),
        (":f", "'f' is no directory"),
    ):
        with pytest.raises(DockerfileError, match=text):
            based.build(f"FROM base\nADD {web.url}/git/project.git#{fragment} /src")


def test_submodules_come_along(based: Bench, web: WebServer, work: Work, tmp_path: Path) -> None:
    other = Work(tmp_path / "other", web.repositories / "other.git")
    other.commit({"inner": "of the submodule"})
    work.git("submodule", "add", "-q", str(other.bare), "vendor/other")
    work.git("config", "-f", ".gitmodules", "submodule.vendor/other.url", "../other.git")
    work.commit({"f": "1"})
    based.build(f"FROM base\nADD {web.url}/git/project.git /src")
    with based.tree() as top:
        assert files_below(top / "src") == [".gitmodules", "f", "vendor/other/inner"]


def test_a_repository_that_has_moved_is_followed(based: Bench, web: WebServer, work: Work) -> None:
    work.commit({"f": "1"})
    moved = {"Location": "/git/project.git/info/refs?service=git-upload-pack"}
    web.answer({"/old.git/info/refs": Answer(status=301, headers=moved)})
    based.build(f"FROM base\nADD {web.url}/old.git /src")
    with based.tree() as top:
        assert files_below(top / "src") == ["f"]


def test_a_repository_by_plain_files_and_by_gits_own_protocol(
    based: Bench, web: WebServer, work: Work
) -> None:
    work.commit({"f": "1"}, tag="v1")
    subprocess.run(["git", "update-server-info"], cwd=work.bare, check=True)
    for path in work.bare.rglob("*"):
        if path.is_file():
            web.answer({f"/dumb/project.git/{path.relative_to(work.bare)}": Answer(path.read_bytes())})
    based.build(f"FROM base\nADD {web.url}/dumb/project.git#v1 /src")
    with based.tree() as top:
        assert files_below(top / "src") == ["f"]


# ---- contexts


DOCKERFILE = "FROM base\nCOPY . /ctx\n"


def context_archive(compressed: str = "gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compressed}") as tar:  # type: ignore[call-overload]
        for name, text in (
            ("Dockerfile", DOCKERFILE),
            ("other/Containerfile", f"{DOCKERFILE}RUN touch /other\n"),
            ("f", "in the archive"),
            ("left.out", ""),
            (".dockerignore", "*.out\n.dockerignore\nother\n"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def build_from(bench: Bench, data: bytes, **options: object) -> None:
    """As with `tiffin build - < file`, or from a pipe: read once, front to back."""
    from tiffin.build import BuildRequest

    path = bench.context.parent / "stream"
    path.write_bytes(data)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as pipe:
        assert pipe.stdout is not None
        request = BuildRequest("-", tags=("built",), network="none", stdin=pipe.stdout.fileno(), **options)  # type: ignore[arg-type]
        bench.builder().build(request)


@pytest.mark.parametrize("compressed", ["", "gz", "xz"])
def test_a_context_from_a_stream(based: Bench, compressed: str) -> None:
    build_from(based, context_archive(compressed))
    with based.tree() as top:
        assert files_below(top / "ctx") == ["Dockerfile", "f"]
    build_from(based, context_archive(compressed), dockerfile="other/Containerfile")
    with based.tree() as top:
        assert (top / "other").exists()


def test_a_dockerfile_from_a_stream_has_no_context(based: Bench) -> None:
    build_from(based, b"FROM base\nRUN touch /made\n")
    with based.tree() as top:
        assert (top / "made").exists()
    with pytest.raises(DockerfileError, match="does not exist in the build context"):
        build_from(based, b"FROM base\nCOPY f /f\n")
    with pytest.raises(InvalidArgument, match="is empty"):
        build_from(based, b" \n")


def test_a_context_by_url(based: Bench, web: WebServer) -> None:
    web.answer({"/ctx.tar.gz": Answer(context_archive())})
    web.answer({"/Dockerfile": Answer(b"FROM base\nRUN touch /made\n")})
    _build(based, f"{web.url}/ctx.tar.gz")
    with based.tree() as top:
        assert files_below(top / "ctx") == ["Dockerfile", "f"]
    _build(based, f"{web.url}/Dockerfile")
    with based.tree() as top:
        assert (top / "made").exists()
    with pytest.raises(NotFound, match="there is nothing"):
        _build(based, f"{web.url}/none")


def test_a_context_by_git(based: Bench, web: WebServer, work: Work) -> None:
    work.commit({"sub/Dockerfile": DOCKERFILE, "sub/f": "1", "g": "2"})
    _build(based, f"{web.url}/git/project.git#main:sub")
    with based.tree() as top:
        assert files_below(top / "ctx") == ["Dockerfile", "f"]


def _build(bench: Bench, context: str) -> None:
    from tiffin.build import BuildRequest

    bench.builder().build(BuildRequest(context, network="none", tags=("built",)))


# ---- named contexts


def test_a_named_directory_is_copied_from_mounted_and_built_on(based: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    (other / "sub" / "f").write_text("of the other")
    (other / "left.out").write_text("")
    (other / ".dockerignore").write_text("*.out")
    text = (
        "FROM base\nCOPY --from=assets sub /copied\nRUN --mount=from=assets,target=/m cp /m/sub/f /mounted\n"
        "FROM assets AS files\nFROM scratch\nCOPY --from=0 / /\nCOPY --from=files /sub /based\nCOPY --from=assets . /"
    )
    based.build(text, contexts={"assets": str(other)})
    with based.tree() as top:
        assert (top / "copied" / "f").read_text() == (top / "mounted").read_text() == "of the other"
        assert (top / "based" / "f").read_text() == "of the other"
        assert not (top / "left.out").exists()
    based.build(text, contexts={"assets": str(other)})
    assert based.executed == []
    (other / "sub" / "f").write_text("changed")
    based.build(text, contexts={"assets": str(other)})
    with based.tree() as top:
        assert (top / "copied" / "f").read_text() == "changed"


def test_a_named_context_takes_the_place_of_an_image_or_a_stage(based: Bench) -> None:
    based.build("FROM base\nRUN echo other >/which", tags=("other",))
    text = "FROM alpine AS deps\nRUN echo never >/which\nFROM base\nCOPY --from=deps /which /which"
    based.build(text, contexts={"deps": "docker-image://other"})
    with based.tree() as top:
        assert (top / "which").read_text() == "other\n"
    based.build("FROM alpine:latest\nRUN cat /which", contexts={"alpine": "docker-image://other"})
    assert based.log == "other\n"


def test_an_image_of_a_layout_on_disk(based: Bench, tmp_path: Path) -> None:
    based.build("FROM base\nRUN echo in the layout >/which", tags=("kept:1",))
    saved = io.BytesIO()
    based.images.save(["kept:1"], saved)
    saved.seek(0)
    layout = tmp_path / "layout"
    with tarfile.open(fileobj=saved) as tar:
        tar.extractall(layout, filter="fully_trusted")
    based.images.remove("kept:1", force=True)
    for text in (f"oci-layout://{layout}", f"oci-layout://{layout}:1"):
        based.build("FROM thing\nRUN cat /which", contexts={"thing": text}, no_cache=True)
        assert based.log == "in the layout\n"
    with pytest.raises(DockerfileError, match="no such image"):
        based.build("FROM thing", contexts={"thing": f"oci-layout://{layout}:2"})


def test_a_named_context_by_url_and_by_git(based: Bench, web: WebServer, work: Work) -> None:
    work.commit({"f": "of git"})
    web.answer({"/a.tgz": Answer(context_archive())})
    based.build(
        "FROM scratch\nCOPY --from=one f /git\nCOPY --from=two f /url",
        contexts={"one": f"{web.url}/git/project.git", "two": f"{web.url}/a.tgz"},
    )
    with based.tree() as top:
        assert (top / "git").read_text() == "of git"
        assert (top / "url").read_text() == "in the archive"
