"""-v, --mount, --tmpfs and --volumes-from, as a container sees them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tiffin.kernel.mounts import MS_SHARED, make_filesystem, mount, move_mount, umount

pytestmark = pytest.mark.root


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A host directory with a filesystem mounted below it."""
    made = tmp_path / "host"
    (made / "below").mkdir(parents=True)
    (made / "top").write_text("top")
    fd = make_filesystem("tmpfs", [], 0, "tiffin-test")
    move_mount(fd, -100, "", str(made / "below"))
    os.close(fd)
    yield made
    umount(str(made / "below"))


@pytest.fixture
def shared_mount(tmp_path: Path) -> Iterator[Path]:
    """A host directory whose mounts are shared with those who ask for it."""
    made = tmp_path / "shared"
    made.mkdir()
    fd = make_filesystem("tmpfs", [], 0, "tiffin-test")
    move_mount(fd, -100, "", str(made))
    os.close(fd)
    mount(None, str(made), None, MS_SHARED)
    yield made
    umount(str(made))


def sh(tiffin: Tiffin, script: str, *words: str) -> str:
    return tiffin.ok("run", "--rm", *words, "busybox", "sh", "-c", script)


@pytest.mark.parametrize(
    ("words", "below"),
    [
        ("", "no"),
        (",bind-recursive=writable", "yes"),
        (",bind-recursive=readonly", "no"),
        (",bind-recursive=disabled", "no"),
    ],
)
def test_read_only_goes_as_deep_as_is_asked(shared: Tiffin, nested: Path, words: str, below: str) -> None:
    option = f"type=bind,src={nested},dst=/h,ro{words}"
    script = "touch /h/x 2>/dev/null && echo top; touch /h/below/x 2>/dev/null && echo yes || echo no"
    assert sh(shared, script, "--mount", option) == below


def test_without_recursion_what_is_mounted_below_is_not_seen(shared: Tiffin, nested: Path) -> None:
    (nested / "below" / "file").write_text("x")
    for word in ("bind-recursive=disabled", "bind-nonrecursive"):
        assert sh(shared, "ls /h/below", "--mount", f"type=bind,src={nested},dst=/h,{word}") == ""
    assert sh(shared, "ls /h/below", "--mount", f"type=bind,src={nested},dst=/h") == "file"


def test_a_missing_source_is_made_by_v_and_refused_by_mount(shared: Tiffin, tmp_path: Path) -> None:
    missing = tmp_path / "a" / "b"
    said = shared.fails(
        "run", "--rm", "--mount", f"type=bind,src={missing},dst=/h", "busybox", "true", code=125
    )
    assert said.endswith(f'invalid mount config for type "bind": bind source path does not exist: {missing}')
    sh(shared, "true", "--mount", f"type=bind,src={missing}1,dst=/h,bind-create-src")
    assert Path(f"{missing}1").is_dir()
    sh(shared, "touch /h/x", "-v", f"{missing}:/h")
    assert (missing / "x").exists()


def test_a_part_of_a_volume_is_mounted(tiffin: Tiffin) -> None:
    sh(
        tiffin,
        "mkdir -p /d/a/b; echo part > /d/a/b/file; ln -s a/b /d/inside; ln -s /etc /d/outside",
        "-v",
        "data:/d",
    )
    for path in ("a/b", "inside"):
        assert sh(tiffin, "cat /p/file", "--mount", f"src=data,dst=/p,volume-subpath={path}") == "part"
    assert sh(tiffin, "cat /p", "--mount", "src=data,dst=/p,volume-subpath=a/b/file") == "part"
    for path, why in (("outside", "leads out of it"), ("nope", "no such file or directory; make it first")):
        said = tiffin("run", "--rm", "--mount", f"src=data,dst=/p,volume-subpath={path}", "busybox", "true")
        assert said.returncode == 125 and f"cannot access path {path} of volume data" in said.stderr
        assert why in said.stderr


def test_a_copy_to_a_container_at_rest_goes_where_the_container_sees_it(
    tiffin: Tiffin, tmp_path: Path
) -> None:
    tiffin.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    sh(tiffin, "mkdir /d/part; echo in > /d/part/file; echo out > /d/file", "-v", "data:/d")
    words = ("--mount", "src=data,dst=/p,volume-subpath=part", "-v", "memory:/m")
    image = ("--mount", "type=image,src=busybox,dst=/o,image-subpath=bin")
    tiffin.ok("create", "--name", "one", *words, *image, "busybox", "true")
    tiffin.ok("cp", "one:/p/file", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "in\n"
    (tmp_path / "new").write_text("new")
    tiffin.ok("cp", str(tmp_path / "new"), "one:/p/new")
    assert Path(f"{tiffin.root}/volumes/data/_data/part/new").read_text() == "new"
    tiffin.ok("cp", "one:/o/busybox", str(tmp_path / "busybox"))
    assert f"{tiffin.root}/volumes/memory" not in Path("/proc/self/mounts").read_text(), "for the copy alone"


def test_an_image_is_mounted_to_read_and_kept_meanwhile(tiffin: Tiffin) -> None:
    tiffin.ok("create", "--name", "maker", "busybox", "sh", "-c", "mkdir /made; echo it > /made/file")
    tiffin.ok("start", "-a", "maker")
    tiffin.ok("commit", "maker", "other")
    tiffin.ok("rm", "maker")
    assert sh(tiffin, "cat /o/made/file", "--mount", "type=image,source=other,target=/o") == "it"
    assert sh(tiffin, "cat /o/file", "--mount", "type=image,src=other,dst=/o,image-subpath=made") == "it"
    refused = tiffin("run", "--rm", "--mount", "type=image,src=other,dst=/o", "busybox", "touch", "/o/x")
    assert "Read-only file system" in refused.stderr
    tiffin.ok(
        "create", "--name", "user", "--mount", "type=image,src=other,dst=/o", "busybox", "cat", "/o/made/file"
    )
    assert "is using its referenced image" in tiffin.fails("rmi", "other")
    tiffin.ok("image", "prune", "-af")
    assert tiffin.ok("start", "-a", "user") == "it"
    assert (
        tiffin.ok("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Source}} {{.RW}}{{end}}", "user")
        == "image other false"
    )
    tiffin.ok("rm", "user")
    tiffin.ok("rmi", "other")
    assert (
        "No such image: nope"
        in tiffin(
            "create", "--pull", "never", "--mount", "type=image,src=nope,dst=/o", "busybox", "true"
        ).stderr
    )


def test_a_mapped_bind_keeps_the_owner_of_its_files(shared: Tiffin, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "file").write_text("x")
    for path in (home, home / "file"):
        os.chown(path, 1234, 4321)
    assert sh(shared, "stat -c %u:%g /h /h/file; touch /h/made", "-v", f"{home}:/h:idmap") == "0:0\n0:0"
    made = os.stat(home / "made")
    assert (made.st_uid, made.st_gid) == (1234, 4321)
    mapping = "idmap=uids=1234-7-1;gids=4321-8-1"
    assert sh(shared, "stat -c %u:%g /h/file", "--mount", f"type=bind,src={home},dst=/h,{mapping}") == "7:8"


def test_a_mapping_that_the_filesystem_refuses_is_said_to_be_so(shared: Tiffin) -> None:
    said = shared("run", "--rm", "-v", "/proc/sys:/h:idmap", "busybox", "true")
    assert said.returncode == 125 and "does not allow it" in said.stderr and "leave idmap out" in said.stderr


def test_a_tmpfs_has_its_options(shared: Tiffin) -> None:
    option = "/t:size=1m,mode=1770,uid=5,gid=6,nr_inodes=10,exec"
    script = "stat -c '%a %u:%g' /t; grep ' /t ' /proc/mounts"
    said = sh(shared, script, "--tmpfs", option)
    assert said.startswith("1770 5:6\n")
    for word in ("size=1024k", "nr_inodes=10", "nosuid", "nodev"):
        assert word in said
    assert "noexec" not in said
    assert "size=64k" in sh(shared, script, "--mount", "type=tmpfs,dst=/t,tmpfs-size=65536,tmpfs-mode=700")


def test_mounts_are_taken_over_from_another_container(tiffin: Tiffin, tmp_path: Path) -> None:
    tiffin.ok(
        "create", "--name", "one", "-v", "data:/d", "-v", f"{tmp_path}:/h", "--tmpfs", "/t", "busybox", "true"
    )
    script = "touch /d/x && echo d; touch /h/x && echo h; grep -c ' /t ' /proc/mounts"
    assert sh(tiffin, f"{script}; true", "--volumes-from", "one").split() == ["d", "h", "0"]
    assert sh(tiffin, f"{script} 2>/dev/null; true", "--volumes-from", "one:ro").split() == ["0"]
    assert "invalid volumesFrom" in tiffin.fails(
        "create", "--volumes-from", "one:xx", "busybox", "true", code=125
    )
    assert "No such container" in tiffin("create", "--volumes-from", "nope", "busybox", "true").stderr
    tiffin.ok("rm", "-v", "one")
    assert tiffin.ok("volume", "ls", "-q") == "data"


def test_anonymous_volumes_go_with_rm_and_named_ones_stay(tiffin: Tiffin) -> None:
    sh(tiffin, "touch /a/x /d/x /m/x", "-v", "/a", "-v", "data:/d", "--mount", "dst=/m")
    assert tiffin.ok("volume", "ls", "-q") == "data"
    tiffin.ok("run", "--name", "kept", "-v", "/a", "busybox", "true")
    assert len(tiffin.ok("volume", "ls", "-q").split()) == 2
    tiffin.ok("rm", "kept")
    assert len(tiffin.ok("volume", "ls", "-q").split()) == 2, "without -v it stays"


def test_a_mount_makes_its_volume_as_its_options_say(tiffin: Tiffin) -> None:
    driver = 'volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,uid=3"'
    option = f"src=scratch,dst=/s,{driver},volume-label=a=b"
    assert sh(tiffin, "grep ' /s ' /proc/mounts; stat -c %u /s", "--mount", option).splitlines()[-1] == "3"
    assert tiffin.ok("volume", "ls", "-q", "--filter", "label=a=b") == "scratch"
    assert tiffin.ok("volume", "inspect", "-f", "{{.Options.type}}", "scratch") == "tmpfs"


@pytest.mark.parametrize(
    "words",
    [
        ("-v", "data:/"), ("-v", "/"), ("-v", "/tmp:/.."), ("--tmpfs", "/"), ("--tmpfs", "//:size=1m"),
        ("--mount", "src=data,dst=/"), ("--mount", "type=bind,src=/tmp,dst=/x/.."), ("--mount", "type=tmpfs,dst=/"),
        ("--mount", "type=image,src=busybox,dst=/"),
    ],
)  # fmt: skip
def test_nothing_is_mounted_over_the_root(shared: Tiffin, words: tuple[str, str]) -> None:
    done = shared("run", "--rm", *words, "busybox", "true")
    assert done.returncode == 125 and "destination can't be '/'" in done.stderr, done.stderr
    assert shared.ok("volume", "ls", "-q", "-f", "name=^data$") == ""


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("-v", "data:/d:rp"), "use one of ro, rw"), (("-v", "/tmp:/d:rshard"), "did you mean rshared?"),
        (("--mount", "type=bnd,src=/tmp,dst=/d"), "did you mean bind?"),
        (("--mount", "type=volume,sorce=data,dst=/d"), "did you mean source?"),
        (("--mount", "src=data,dst=/d,volume-nocpy"), "did you mean volume-nocopy?"),
        (("--mount", "type=bind,src=/tmp,dst=/d,bind-propagation=rslav"), "did you mean rslave?"),
        (("--tmpfs", "/d:sise=1m"), "did you mean size?"), (("--tmpfs", "/d:noexe"), "did you mean noexec?"),
        (("-v", "da/ta:/d"), "includes invalid characters for a local volume name"),
        (("-v", "d:/d"), "includes invalid characters for a local volume name"),
        (("-v", f"{'x' * 256}:/d"), "is too long: at most 255"),
        (("-v", "data:/d", "--mount", "src=data,dst=/d/"), "Duplicate mount point: /d"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_the_nearest_word(shared: Tiffin, words: tuple[str, ...], hint: str) -> None:
    done = shared("create", *words, "busybox", "true")
    assert done.returncode in (1, 125) and hint in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert shared.ok("ps", "-aq") == "" and shared.ok("volume", "ls", "-q", "-f", "name=^data$") == ""


def test_a_read_only_volume_is_filled_and_not_written(tiffin: Tiffin) -> None:
    said = sh(tiffin, "ls /bin/busybox; touch /bin/x 2>&1; true", "-v", "tools:/bin:ro")
    assert said.startswith("/bin/busybox\n") and "Read-only file system" in said
    assert Path(f"{tiffin.root}/volumes/tools/_data/busybox").exists()
    assert sh(tiffin, "ls /none", "-v", "empty:/none:ro") == ""


@pytest.mark.parametrize(("words", "seen"), [("rshared", True), ("rslave", False), ("rprivate", False)])
def test_mounts_go_out_of_a_container_only_where_it_is_asked_for(
    shared: Tiffin, shared_mount: Path, words: str, seen: bool
) -> None:
    script = "mkdir -p /h/x && mount -t tmpfs none /h/x && touch /h/x/inside"
    for option in (("-v", f"{shared_mount}:/h:{words}"),):
        sh(shared, script, "--privileged", *option)
        there = shared_mount / "x"
        assert (there / "inside").exists() is seen
        if seen:
            umount(str(there))


@pytest.mark.parametrize(("words", "seen"), [("rslave", "yes"), ("rprivate", "no")])
def test_mounts_come_into_a_container_only_where_it_is_asked_for(
    shared: Tiffin, shared_mount: Path, words: str, seen: str
) -> None:
    (shared_mount / "x").mkdir()
    option = f"type=bind,src={shared_mount},dst=/h,bind-propagation={words}"
    name = shared.ok("run", "-d", "--mount", option, "busybox", "sleep", "1000")
    fd = make_filesystem("tmpfs", [], 0, "tiffin-test")
    move_mount(fd, -100, "", str(shared_mount / "x"))
    os.close(fd)
    try:
        (shared_mount / "x" / "file").touch()
        assert shared.ok("exec", name, "sh", "-c", "test -e /h/x/file && echo yes || echo no") == seen
    finally:
        shared.ok("rm", "-f", name)
        umount(str(shared_mount / "x"))


def test_a_volume_is_left_empty_where_that_is_asked_for(tiffin: Tiffin) -> None:
    for words in (("-v", "one:/etc:nocopy"), ("--mount", "src=two,dst=/etc,volume-nocopy")):
        assert "passwd" not in sh(tiffin, "ls /etc", *words)
    for name in ("one", "two"):
        assert "passwd" not in os.listdir(f"{tiffin.root}/volumes/{name}/_data")


def test_a_volumes_size_is_told_and_one_in_use_outlives_every_prune(tiffin: Tiffin) -> None:
    tiffin.ok("run", "--name", "user", "-v", "data:/d", "-v", "/nameless", "busybox", "dd", "if=/dev/zero",
              "of=/d/big", "bs=1M", "count=3")  # fmt: skip
    rows = [line.split() for line in tiffin.ok("system", "df", "-v").splitlines() if line.startswith("data ")]
    assert rows[0][1] == "1" and rows[0][2].startswith("3.1") and rows[0][2].endswith("MB")
    held = set(tiffin.ok("volume", "ls", "-q").split())
    tiffin.ok("volume", "prune", "-af")
    assert set(tiffin.ok("volume", "ls", "-q").split()) == held
    tiffin.ok("rm", "user")
    tiffin.ok("system", "prune", "-f", "--volumes")
    assert tiffin.ok("volume", "ls", "-q") == "data", "a named one is spared"
