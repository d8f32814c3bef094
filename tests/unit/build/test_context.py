"""Sources found in a directory, ignore rules, digests. No root needed."""

import os
import time
from pathlib import Path

import pytest

from tiffin.build.contexts.context import Context
from tiffin.build.copying.sources import Picked, SourceTree
from tiffin.errors import InvalidArgument, LimitExceeded, NotFound


@pytest.fixture
def top(tmp_path: Path) -> Path:
    found = tmp_path / "context"
    for name in ("a/x.txt", "a/y.log", "a/deep/z.txt", "b/x.txt", "c.txt", ".hidden", "we[i]rd"):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(name)
    return found


def picked(top: Path, source: str, ignore: str | None = None) -> list[Picked]:
    if ignore is not None:
        (top / ".dockerignore").write_text(ignore)
    context = Context(str(top))
    try:
        context.use_ignore_rules()
        return context.tree.pick(source)
    finally:
        context.close()


def paths(found: list[Picked]) -> list[str]:
    return [
        os.path.join(each.base, node.path).rstrip("/") for each in found for node in each.nodes if node.path
    ]


def test_a_directory_gives_all_that_is_in_it_parents_first(top: Path) -> None:
    assert paths(picked(top, "a")) == ["a/deep", "a/deep/z.txt", "a/x.txt", "a/y.log"]


def test_the_whole_context_is_a_dot_or_a_slash(top: Path) -> None:
    assert paths(picked(top, ".")) == paths(picked(top, "/"))
    assert "a/deep/z.txt" in paths(picked(top, "."))


def test_wildcards_match_one_component_and_are_sorted(top: Path) -> None:
    assert paths(picked(top, "*/x.txt")) == ["a/x.txt", "b/x.txt"]
    assert paths(picked(top, "c.*")) == ["c.txt"]
    assert paths(picked(top, "we[[]i]rd")) == ["we[i]rd"]
    assert paths(picked(top, "*.nothing*/../c.txt")) == ["c.txt"]  # cleaned before it is matched


def test_a_wildcard_that_matches_nothing_is_an_error(top: Path) -> None:
    with pytest.raises(NotFound, match=r"no file of the build context matches '\*.md'"):
        picked(top, "*.md")


def test_a_missing_source_is_named(top: Path) -> None:
    with pytest.raises(NotFound, match="'nowhere' does not exist in the build context"):
        picked(top, "nowhere")
    with pytest.raises(NotFound, match=r"c\.txt/x"):
        picked(top, "c.txt/x")


@pytest.mark.parametrize("source", ["../x", "a/../../x", "/../x", ".."])
def test_a_source_outside_the_context_is_refused(top: Path, source: str) -> None:
    with pytest.raises(InvalidArgument, match="forbidden path outside the build context"):
        picked(top, source)


def test_ignored_files_are_left_out_and_exceptions_kept(top: Path) -> None:
    found = paths(picked(top, ".", "a\n!a/deep/z.txt\n*.txt\n"))
    assert "a/deep/z.txt" in found
    assert "a/deep" in found
    assert "a/x.txt" not in found
    assert "c.txt" not in found
    assert "b/x.txt" in found


def test_naming_an_ignored_file_says_why_it_is_not_there(top: Path) -> None:
    with pytest.raises(NotFound, match=r"left out of the build context by \.dockerignore"):
        picked(top, "c.txt", "*.txt\n")
    with pytest.raises(NotFound, match="matches"):
        picked(top, "c.*", "*.txt\n")


def test_the_dockerfiles_own_ignore_file_comes_first(top: Path) -> None:
    (top / ".dockerignore").write_text("*")
    (top / "Dockerfile.dockerignore").write_text("c.txt")
    (top / "sub.Dockerfile.dockerignore").write_text("b")
    assert "a/x.txt" in paths(picked(top, "."))
    context = Context(str(top))
    context.use_ignore_rules(str(top / "sub.Dockerfile"))
    found = paths(context.tree.pick("."))
    context.close()
    assert "b/x.txt" not in found
    assert "c.txt" in found


def test_a_link_named_as_a_source_is_followed_and_one_within_a_directory_is_kept(top: Path) -> None:
    (top / "link").symlink_to("c.txt")
    (top / "a" / "inner").symlink_to("/etc/passwd")
    (file,) = picked(top, "link")
    assert (file.name, file.nodes[0].path, file.nodes[0].is_file) == ("link", "c.txt", True)
    inner = next(node for node in picked(top, "a")[0].nodes if node.path == "inner")
    assert (inner.is_link, inner.link) == (True, "/etc/passwd")


def test_a_link_to_an_ignored_file_does_not_bring_it_in(top: Path) -> None:
    (top / "link").symlink_to("c.txt")
    with pytest.raises(NotFound, match="left out"):
        picked(top, "link", "c.txt\n")


def test_a_fifo_in_the_context_is_a_node_and_a_socket_is_not(top: Path) -> None:
    os.mkfifo(top / "a" / "fifo")
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(top / "a" / "sock"))
        found = paths(picked(top, "a"))
    assert "a/fifo" in found
    assert "a/sock" not in found


def digest(top: Path, source: str = "a", cache: str = "") -> str:
    context = Context(str(top), cache)
    try:
        (found,) = context.tree.pick(source)
        return context.digest(found)
    finally:
        context.save_digests()
        context.close()


def test_a_digest_changes_with_content_mode_name_and_links_but_not_with_time(top: Path) -> None:
    first = digest(top)
    os.utime(top / "a" / "x.txt", (1, 1))
    assert digest(top) == first
    seen = {first}

    def changed() -> None:
        assert digest(top) not in seen
        seen.add(digest(top))

    (top / "a" / "x.txt").write_text("other")
    changed()
    (top / "a" / "x.txt").chmod(0o600)
    changed()
    (top / "a" / "x.txt").rename(top / "a" / "w.txt")
    changed()
    (top / "a" / "l").symlink_to("w.txt")
    changed()
    (top / "a" / "l").unlink()
    (top / "a" / "l").symlink_to("y.log")
    changed()
    (top / "a" / "empty").mkdir()
    changed()


def test_remembered_digests_are_used_while_nothing_changed_and_never_after(top: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    file = top / "a" / "x.txt"
    first = digest(top)
    deadline = time.monotonic() + 10
    while not list(cache.iterdir()):  # a file just written is not remembered until its change is settled
        assert digest(top, cache=str(cache)) == first
        assert time.monotonic() < deadline
    (saved,) = cache.iterdir()
    assert saved.stat().st_mode & 0o777 == 0o600
    assert digest(top, cache=str(cache)) == first
    status = file.stat()
    file.write_text("A" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(top, cache=str(cache)) != first


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"a/x.txt": 1}', '{"a/x.txt": [1, 2]}'])
def test_a_damaged_digest_cache_is_as_good_as_none(top: Path, tmp_path: Path, junk: str) -> None:
    import hashlib

    name = hashlib.sha256(os.fsencode(os.path.realpath(top))).hexdigest()[:32]
    (tmp_path / f"context-{name}.json").write_text(junk)
    assert digest(top, cache=str(tmp_path)) == digest(top)


def test_the_dockerfile_is_found_by_default_by_option_and_outside(top: Path, tmp_path: Path) -> None:
    (top / "Dockerfile").write_text("FROM a")
    (tmp_path / "else").write_text("FROM b")
    context = Context(str(top))
    assert context.read_dockerfile() == (b"FROM a", "Dockerfile")
    assert context.read_dockerfile(str(tmp_path / "else"))[0] == b"FROM b"
    with pytest.raises(NotFound, match="choose one with -f"):
        context.read_dockerfile(str(tmp_path / "none"))
    context.close()


def test_a_dockerfile_has_a_size_limit(top: Path) -> None:
    (top / "Dockerfile").write_bytes(b"#" * (5 << 20))
    context = Context(str(top))
    with pytest.raises(LimitExceeded):
        context.read_dockerfile()
    context.close()


def test_a_context_that_is_missing_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFound, match="does not exist"):
        Context(str(tmp_path / "none"))
    with pytest.raises(InvalidArgument, match="not a directory"):
        Context(str(tmp_path / "file"))


def test_links_of_a_stage_resolve_inside_it(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "x").write_text("x")
    (tmp_path / "lib").symlink_to("/usr/lib")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        (found,) = SourceTree(fd, "the copied stage").pick("/lib/x")
    finally:
        os.close(fd)
    assert (found.base, found.nodes[0].path) == ("usr/lib", "x")


def test_digests_taken_elsewhere_are_kept_for_the_next_build(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tiffin.build.contexts.context._SETTLED_NS", -(10**12)
    )  # trust files made a moment ago
    (tmp_path / "cache").mkdir()
    context, waiting, later = (Context(str(top), str(tmp_path / "cache")) for _ in range(3))
    try:
        (found,) = context.tree.pick("a")
        waiting.digest(found)
        learn = context.learner(found)
        for node in found.nodes:
            if node.is_file:
                learn(node, f"digest of {node.path}", (top / "a" / node.path).stat())
        learned = context.digest(found)
        context.save_digests()
        assert later.digest(found) == learned
        assert waiting.digest(found) != learned  # it has read them itself
    finally:
        for each in (context, waiting, later):
            each.close()


def test_a_file_that_changed_while_it_was_read_is_not_kept(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiffin.build.contexts.context._SETTLED_NS", -(10**12))
    (tmp_path / "cache").mkdir()
    context = Context(str(top), str(tmp_path / "cache"))
    try:
        (found,) = context.tree.pick("c.txt")
        (top / "c.txt").write_text("something else")
        context.learner(found)(found.nodes[0], "digest", (top / "c.txt").stat())
        context.save_digests()
    finally:
        context.close()
    assert os.listdir(tmp_path / "cache") == []
