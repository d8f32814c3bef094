"""export, import and commit with changes, save of several names: what goes out and what comes in."""

import io
import json
import os
import pty
import sqlite3
import subprocess
import tarfile  # noqa: TID251 - reads what was written, as other people's tools do
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.images import busybox_tar

pytestmark = pytest.mark.root
_RUN = ("--network", "none", "busybox", "sh", "-c")


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name.rstrip("/"): member for member in archive}


def exported(tiffin: Tiffin, name: str) -> bytes:
    done = subprocess.run(tiffin.argv("export", name), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_container_that_never_started_is_exported_as_its_image(shared: Tiffin) -> None:
    shared.ok("create", "--name", "fresh", "busybox", "true")
    found = members(exported(shared, "fresh"))
    assert found["bin/busybox"].mode == 0o755
    assert found["tmp"].mode == 0o1777
    shared.ok("rm", "fresh")


def test_a_stopped_and_a_running_container_are_exported_with_what_they_did(
    shared: Tiffin, tmp_path: Path
) -> None:
    script = (
        "echo new > /etc/new; rm /etc/group; ln -s new /etc/link; chmod 600 /etc/new; mkdir /e; touch /run-me"
    )
    shared.ok("run", "--name", "stopped", *_RUN, script)
    shared.ok("run", "-d", "--name", "running", *_RUN, script + "; touch /done; exec sleep 99")
    while "done" not in shared.ok("exec", "running", "ls", "/"):
        pass
    shared.ok("export", "-o", tmp_path / "running.tar", "running")
    for data in (exported(shared, "stopped"), (tmp_path / "running.tar").read_bytes()):
        found = members(data)
        assert found["etc/new"].mode == 0o600
        assert found["etc/new"].size == 4
        assert found["etc/link"].linkname == "new"
        assert "etc/group" not in found
        assert not [name for name in found if ".wh." in name]
        assert found["e"].isdir()
    assert os.listdir(tmp_path) == ["running.tar"]
    shared.ok("rm", "-f", "stopped", "running")


def test_what_was_exported_can_be_imported_with_settings_and_run(shared: Tiffin, tmp_path: Path) -> None:
    shared.ok("run", "--name", "made", *_RUN, "echo kept > /kept")
    shared.ok("export", "-o", tmp_path / "made.tar", "made")
    words = (
        "-c",
        'ENTRYPOINT ["cat"]',
        "-c",
        "CMD /kept",
        "-c",
        'CMD ["/kept"]',
        "-c",
        "ENV A=1 B=$A",
        "-c",
        "LABEL l=1",
    )
    identifier = shared.ok("import", *words, "-m", "by hand", tmp_path / "made.tar", "flat:1")
    assert shared.ok("run", "--rm", "--network", "none", "flat:1") == "kept"
    document = json.loads(shared.ok("image", "inspect", "flat:1"))[0]
    assert document["Id"] == identifier
    assert document["Comment"] == "by hand"
    assert document["Config"]["Env"] == ["A=1", "B="]
    assert document["Config"]["Labels"] == {"l": "1"}
    assert len(document["RootFS"]["Layers"]) == 1
    shared.ok("import", "--platform", "linux/arm64", tmp_path / "made.tar", "other:1")
    assert shared.ok("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "other:1") == "linux/arm64"
    before = shared.ok("images", "-q", "--no-trunc")
    assert "run is not a valid change command" in shared.fails("import", "-c", "RUN x", tmp_path / "made.tar")
    assert "invalid platform" in shared.fails("import", "--platform", "a/b/c/d", tmp_path / "made.tar")
    assert shared.ok("images", "-q", "--no-trunc") == before
    shared.ok("rm", "made")
    shared.ok("rmi", "flat:1", "other:1")


def test_commit_with_changes(shared: Tiffin) -> None:
    shared.ok("run", "--name", "job", "-e", "A=1", *_RUN, "echo 1 > /one")
    words = ("-a", "me", "-m", "why", "-c", "CMD cat /one", "-c", "ENV B=${A}2", "-c", "WORKDIR /tmp")
    shared.ok("commit", *words, "--pause=false", "job", "job:1")
    assert shared.ok("run", "--rm", "--network", "none", "job:1") == "1"
    template = "{{.Author}} {{.Comment}} {{.Config.WorkingDir}} {{.Config.Cmd}} {{json .Config.Env}}"
    text = shared.ok("inspect", "-f", template, "job:1")
    assert text.startswith("me why /tmp [/bin/sh -c cat /one] [")
    assert '"B=12"' in text
    assert "add is not a valid change command" in shared.fails("commit", "-c", "ADD a b", "job", "job:2")
    assert "No such image: job:2" in shared.fails("image", "inspect", "job:2")
    shared.ok("rm", "job")
    shared.ok("rmi", "job:1")


def test_several_names_are_saved_to_one_archive(shared: Tiffin, tmp_path: Path) -> None:
    shared.ok("tag", "busybox", "second:2")
    shared.ok("save", "-o", tmp_path / "both.tar", "busybox", "second:2")
    identifier = shared.ok("inspect", "-f", "{{.Id}}", "busybox")
    shared.ok("rmi", "second:2", "busybox")
    assert shared.ok("load", "-q", "-i", tmp_path / "both.tar").splitlines() == [
        "Loaded image: busybox:latest",
        "Loaded image: second:2",
    ]
    assert shared.ok("images", "--no-trunc", "--format", "{{.ID}}").split() == [identifier] * 2
    shared.ok("rmi", "second:2")


def test_of_a_name_for_two_platforms_one_is_saved(shared: Tiffin, tmp_path: Path) -> None:
    ours = shared.ok("import", busybox_tar(), "both:1")
    other = shared.ok("import", "--platform", "linux/arm64", busybox_tar())
    index = f"sha256:{'5' * 64}"
    db = sqlite3.connect(f"{shared.root}/tiffin.db")
    with db:
        db.execute("INSERT INTO indexes VALUES (?, 'application/vnd.oci.image.index.v1+json', 2)", (index,))
        db.executemany("INSERT INTO index_images VALUES (?, ?)", [(index, ours), (index, other)])
        db.execute("UPDATE image_names SET target = ? WHERE image = ?", (index, ours))
    db.close()
    for platform, identifier in (("linux/arm64", other), ("linux/amd64", ours)):
        shared.ok(
            "save", "--format", "docker-archive", "--platform", platform, "-o", tmp_path / "one.tar", "both:1"
        )
        with tarfile.open(tmp_path / "one.tar") as archive:
            entries = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        assert [entry["Config"] for entry in entries] == [
            f"blobs/sha256/{identifier.removeprefix('sha256:')}"
        ]
    assert "does not match the specified platform" in shared.fails(
        "save", "--platform", "linux/s390x", "both:1"
    )
    shared.ok("rmi", "-f", other, ours)


@pytest.mark.parametrize("words", [("save", "busybox"), ("export", "there")])
def test_a_terminal_gets_no_archive(shared: Tiffin, words: tuple[str, ...]) -> None:
    shared.ok("create", "--name", "there", "busybox", "true")
    outside, inside = pty.openpty()
    try:
        done = subprocess.run(
            shared.argv(*words), stdout=inside, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(inside)
        os.close(outside)
        shared.ok("rm", "there")
    assert done.returncode == 1
    assert "cowardly refusing to save to a terminal" in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("export", "absent"), "No such container: absent"),
        (("export", "-o", "/no/such/dir/x", "there"), "no such file or directory"),
        (("save", "-o", "/no/such/dir/x", "busybox"), "no such file or directory"),
        (("save", "-o", "x", "absent"), "No such image: absent"),
        (("save", "-o", "x", "busybox", "absent"), "No such image: absent"),
    ],
)
def test_a_failure_leaves_no_file(shared: Tiffin, tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    shared.ok("create", "--name", "there", "busybox", "true")
    assert text in shared.fails(*words, cwd=tmp_path)
    assert os.listdir(tmp_path) == []
    shared.ok("rm", "there")
