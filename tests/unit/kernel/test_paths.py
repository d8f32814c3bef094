"""Walking, making and removing trees by descriptor; no root needed."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from tiffin.kernel import paths
from tiffin.kernel.paths import AT_FDCWD, mkdirs_in_root, open_in_root, openat2, remove_tree


@pytest.fixture
def root(tmp_path):
    """A root with a canary outside of it, and its descriptor."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary/file").write_text("alive")
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield tmp_path / "root", fd
    os.close(fd)
    assert (tmp_path / "canary/file").read_text() == "alive"


def owner() -> tuple[int, int]:
    return os.getuid(), os.getgid()


def read(fd: int) -> str:
    with os.fdopen(fd) as file:
        return file.read()


def test_links_and_dots_stay_inside_the_root(root):
    path, fd = root
    (path / "etc").mkdir()
    (path / "etc/passwd").write_text("the root's")
    (path / "absolute").symlink_to("/etc/passwd")
    (path / "climbing").symlink_to("../../../../etc/passwd")
    for name in ("absolute", "climbing", "/etc/passwd", "../../etc/passwd", "etc/../../../etc/passwd"):
        assert read(open_in_root(fd, name, os.O_RDONLY)) == "the root's"


def test_a_link_to_what_only_the_host_has_is_missing(root):
    path, fd = root
    (path / "out").symlink_to(str(path.parent / "canary"))
    with pytest.raises(FileNotFoundError):
        open_in_root(fd, "out/file", os.O_RDONLY)


def test_magic_links_are_refused():
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError) as caught:
        open_in_root(fd, "/proc/self/exe", os.O_RDONLY)
    os.close(fd)
    assert caught.value.errno == errno.ELOOP


def test_an_empty_path_is_the_root(root):
    path, fd = root
    for name in ("", "/", "."):
        opened = open_in_root(fd, name, os.O_PATH)
        assert os.fstat(opened).st_ino == path.stat().st_ino
        os.close(opened)


def test_descriptors_are_close_on_exec(root):
    opened = open_in_root(root[1], "", os.O_RDONLY)
    assert not os.get_inheritable(opened)
    os.close(opened)


def test_errors_name_the_path_and_have_their_own_class(root):
    with pytest.raises(FileNotFoundError) as caught:
        openat2(root[1], "nosuch", os.O_RDONLY)
    assert caught.value.filename == "nosuch"


@pytest.mark.parametrize("name", ["a\0b", b"a\0b"])
def test_a_null_byte_never_cuts_a_name_short(root, name):
    path, fd = root
    (path / "a").touch()
    for attempt in (openat2, open_in_root):
        with pytest.raises(OSError) as caught:
            attempt(fd, name, os.O_RDONLY)
        assert caught.value.errno == errno.EINVAL


def test_a_name_of_any_bytes_goes_through(root):
    name = os.fsdecode(b"\xff\xfe\n")
    os.close(open_in_root(root[1], name, os.O_CREAT | os.O_WRONLY, 0o600))
    assert os.listdir(root[0]) == [name]


def test_a_swapped_parent_never_leads_outside(root):
    path, fd = root
    (path / "real").mkdir()
    (path / "real/file").write_text("inside")
    (path / "link").symlink_to(str(path.parent / "canary"))
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            paths.rename_exchange(fd, "real", fd, "link")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(500):
            try:
                assert read(open_in_root(fd, "real/file", os.O_RDONLY)) == "inside"
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                assert error.errno in (errno.EAGAIN, errno.ELOOP)
    finally:
        stop.set()
        swapper.join()


def test_missing_directories_are_made_with_mode_and_owner_and_others_are_left(root):
    path, fd = root
    (path / "old").mkdir(mode=0o700)
    mask = os.umask(0o077)
    made = mkdirs_in_root(fd, "/old/a/./b//", 0o1775, *owner())
    os.umask(mask)
    assert os.fstat(made).st_ino == (path / "old/a/b").stat().st_ino
    os.close(made)
    assert [oct(p.stat().st_mode & 0o7777) for p in (path / "old/a", path / "old/a/b")] == ["0o1775"] * 2
    assert (path / "old").stat().st_mode & 0o777 == 0o700


def test_making_what_exists_changes_nothing(root):
    path, fd = root
    (path / "there").mkdir(mode=0o711)
    os.close(mkdirs_in_root(fd, "there", 0o777, *owner()))
    os.close(mkdirs_in_root(fd, "/", 0o777, *owner()))
    assert (path / "there").stat().st_mode & 0o777 == 0o711


@pytest.mark.parametrize("target", ["/run/deep", "../../../run/deep", "../run/deep", "../run/./x/../deep"])
def test_a_dangling_link_has_its_target_made_inside_the_root(root, target):
    path, fd = root
    (path / "var").mkdir()
    (path / "var/link").symlink_to(target)
    os.close(mkdirs_in_root(fd, "var/link/app", 0o755, *owner()))
    assert (path / "run/deep/app").is_dir()


def test_a_link_out_of_the_root_has_its_target_made_inside(root):
    path, fd = root
    (path / "out").symlink_to(str(path.parent / "canary"))
    os.close(mkdirs_in_root(fd, "out/new", 0o755, *owner()))
    assert not (path.parent / "canary/new").exists()


def test_links_in_a_ring_and_files_on_the_way_are_errors(root):
    path, fd = root
    (path / "ring").symlink_to("ring")
    (path / "file").touch()
    (path / "hop").symlink_to("nothing/../hop/x")
    for name, code in (
        ("ring/a", errno.ELOOP),
        ("hop/a", errno.ELOOP),
        ("file/a", errno.ENOTDIR),
        ("file", errno.ENOTDIR),
    ):
        with pytest.raises(OSError) as caught:
            mkdirs_in_root(fd, name, 0o755, *owner())
        assert caught.value.errno == code


def test_no_descriptor_is_lost_whatever_happens(root):
    path, fd = root
    (path / "file").touch()
    before = os.listdir("/proc/self/fd")
    os.close(mkdirs_in_root(fd, "x/y/z", 0o755, *owner()))
    with pytest.raises(NotADirectoryError):
        mkdirs_in_root(fd, "x/../file/y", 0o755, *owner())
    remove_tree(fd, "x")
    assert os.listdir("/proc/self/fd") == before


def test_a_tree_is_removed_and_what_its_links_name_is_not(root):
    path, fd = root
    (path / "t/a/b").mkdir(parents=True)
    (path / "t/a/file").touch()
    os.mkfifo(path / "t/fifo")
    (path / "t/out").symlink_to(str(path.parent / "canary"))
    (path / "t/a/up").symlink_to("../..")
    remove_tree(fd, "t")
    assert os.listdir(path) == []


def test_a_link_a_file_and_nothing_are_removed_as_themselves(root):
    path, fd = root
    (path / "link").symlink_to(str(path.parent / "canary"))
    (path / "file").touch()
    for name in ("link", "file", "nothing", "nothing/deeper"):
        remove_tree(fd, name)
    assert os.listdir(path) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "/", "a/"])
def test_what_names_no_entry_is_not_removed(root, name):
    with pytest.raises(OSError) as caught:
        remove_tree(root[1], name)
    assert caught.value.errno == errno.EINVAL


def test_a_host_path_is_removed_by_its_whole_name(root):
    (root[0] / "a/b").mkdir(parents=True)
    remove_tree(AT_FDCWD, str(root[0] / "a"))
    assert os.listdir(root[0]) == []


def test_a_tree_of_any_depth_is_removed(root):
    path, fd = root
    (path / "deep").mkdir()
    here = os.open(path / "deep", os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(fd, "deep")
    assert os.listdir(path) == []


def test_a_wide_tree_is_removed(root):
    path, fd = root
    for i in range(30):
        (path / f"w/{i}").mkdir(parents=True)
        for j in range(30):
            (path / f"w/{i}/{j}").touch()
    remove_tree(fd, "w")
    assert os.listdir(path) == []


def test_two_removers_of_one_tree_do_not_fail_each_other(root):
    path, fd = root
    for i in range(40):
        (path / f"w/{i}/x/y").mkdir(parents=True)
        (path / f"w/{i}/x/file").touch()
    failures: list[BaseException] = []

    def remove() -> None:
        try:
            remove_tree(fd, "w")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=remove) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(path) == []


def test_a_directory_swapped_for_a_link_is_never_followed(root):
    path, fd = root
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                paths.rename_exchange(fd, "t/victim", fd, "bait")
            except OSError:
                continue

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(200):
            (path / "t/victim").mkdir(parents=True, exist_ok=True)
            (path / "t/victim/file").touch()
            if not os.path.lexists(path / "bait"):
                (path / "bait").symlink_to(str(path.parent / "canary"))
            try:
                remove_tree(fd, "t")
            except OSError as error:
                assert error.errno in (errno.ENOTEMPTY, errno.ESTALE)
            try:
                remove_tree(fd, "bait")
            except OSError as error:
                assert error.errno in (errno.ENOTEMPTY, errno.ESTALE)
    except (FileExistsError, NotADirectoryError, FileNotFoundError):
        pass  # the swapper won a race against this loop's own making of the tree; the canary is what counts
    finally:
        stop.set()
        swapper.join()


def test_rename_noreplace_keeps_what_is_there(root):
    path, fd = root
    (path / "a").write_text("a")
    (path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        paths.rename_noreplace(fd, "a", fd, "b")
    paths.rename_exchange(fd, "a", fd, "b")
    assert ((path / "a").read_text(), (path / "b").read_text()) == ("b", "a")


def test_syncfs_takes_any_descriptor_of_the_filesystem(root):
    opened = os.open(root[0], os.O_RDONLY)
    paths.syncfs(opened)
    os.close(opened)
