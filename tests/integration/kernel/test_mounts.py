"""The mount API's round trip, each in a child's private mount namespace; the test's own never changes."""

from __future__ import annotations

import errno
import os
import traceback

import pytest

from tiffin.kernel import mounts, namespaces
from tiffin.kernel.mounts import AT_FDCWD
from tiffin.kernel.paths import mkdirs_in_root, remove_tree

pytestmark = pytest.mark.root


@pytest.fixture
def privately(tmp_path):
    """Run a function in a forked child with a mount namespace of its own; what it asserts is asserted here."""

    def run(action) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS)
                mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
                action(tmp_path)
                code = 0
            except BaseException:
                os.write(write, traceback.format_exc().encode()[-4000:])
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read) as text:
            said = text.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said

    yield run
    assert not [line for line in mountinfo() if str(tmp_path) in line]


def mountinfo() -> list[str]:
    with open("/proc/self/mountinfo") as lines:
        return lines.read().splitlines()


def at(path) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def test_a_filesystem_is_made_configured_and_attached(privately):
    def action(path) -> None:
        fd = mounts.make_filesystem(
            "tmpfs", [("size", "64k"), ("mode", "0711")], mounts.MOUNT_ATTR_NODEV, "label"
        )
        assert not os.get_inheritable(fd)
        assert mounts.filesystem_type(fd) == mounts.TMPFS_MAGIC
        mounts.move_mount(fd, at(path))
        line = next(line for line in mountinfo() if f" {path} " in line)
        assert "nodev" in line.split()[5]
        assert line.endswith("- tmpfs label rw,size=64k,mode=711")
        assert mounts.mount_id(at(path)) == int(line.split()[0])
        mounts.umount(str(path))
        assert not any(f" {path} " in line for line in mountinfo())

    privately(action)


def test_an_overlay_is_made_by_its_options_and_read_only_by_a_flag(privately):
    def action(path) -> None:
        for name in ("lower", "lowest", "upper", "work", "merged"):
            (path / name).mkdir()
        (path / "lower/file").write_text("from below")
        options = [
            (name, str(path / directory))
            for name, directory in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
        ]
        mounts.move_mount(mounts.make_filesystem("overlay", options), at(path / "merged"))
        assert (path / "merged/file").read_text() == "from below"
        (path / "merged/file").write_text("changed")
        assert (path / "upper/file").read_text() == "changed"
        context = mounts.fsopen("overlay")
        for name in ("lower", "lowest"):
            mounts.fsconfig_string(context, "lowerdir+", str(path / name))
        mounts.fsconfig_flag(context, "ro")
        mounts.fsconfig_create(context)
        mounts.move_mount(mounts.fsmount(context), at(path / "merged"))
        with pytest.raises(OSError) as caught:
            (path / "merged/file").write_text("no")
        assert caught.value.errno == errno.EROFS

    privately(action)


def test_a_failure_says_what_the_kernel_said(privately):
    def action(path) -> None:
        with pytest.raises(OSError, match="Unknown parameter 'sizzle'") as caught:
            mounts.make_filesystem("tmpfs", [("sizzle", "1")])
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="nosuchfs") as caught:
            mounts.make_filesystem("nosuchfs")
        assert caught.value.errno == errno.ENODEV

    privately(action)


def test_a_tree_is_cloned_with_what_is_mounted_in_it_and_changed_whole(privately):
    def action(path) -> None:
        for name in ("source", "target"):
            (path / name).mkdir()
        mounts.move_mount(mounts.make_filesystem("tmpfs"), at(path / "source"))
        (path / "source/inner").mkdir()
        mounts.move_mount(mounts.make_filesystem("tmpfs"), at(path / "source/inner"))
        flags = mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE
        tree = mounts.open_tree(AT_FDCWD, str(path / "source"), flags)
        mounts.mount_setattr(
            tree,
            "",
            mounts.AT_RECURSIVE,
            set=mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOATIME,
            clear=mounts.MOUNT_ATTR__ATIME,
            propagation=mounts.MS_PRIVATE,
        )
        mounts.move_mount(tree, at(path / "target"))
        for name in ("target/x", "target/inner/x"):
            with pytest.raises(OSError) as caught:
                (path / name).touch()
            assert caught.value.errno == errno.EROFS
        (path / "source/x").touch()
        assert (path / "target/x").exists()

    privately(action)


def test_a_mount_by_path_and_its_unmounting_never_follow_a_last_link(privately):
    def action(path) -> None:
        (path / "real").mkdir()
        (path / "link").symlink_to("real")
        mounts.mount("tmpfs", str(path / "real"), "tmpfs", mounts.MS_NOSUID, "size=64k")
        with pytest.raises(OSError):
            mounts.umount(str(path / "link"))
        mounts.umount(str(path / "real"))

    privately(action)


def test_a_detached_mount_ends_with_its_descriptor(privately):
    def action(path) -> None:
        fd = mounts.make_filesystem("tmpfs")
        os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        assert not any("tmpfs none" in line and str(path) in line for line in mountinfo())

    privately(action)


def test_pivot_root_stacks_the_old_root_below_the_new(privately):
    def action(path) -> None:
        root = mounts.make_filesystem("tmpfs")
        mounts.move_mount(root, at(path))
        os.fchdir(root)
        mounts.pivot_root(".", ".")
        mounts.umount(".")
        os.chdir("/")
        assert os.listdir("/") == []

    privately(action)


def test_removal_never_enters_a_mount(privately):
    def action(path) -> None:
        (path / "tree/volume").mkdir(parents=True)
        mounts.move_mount(mounts.make_filesystem("tmpfs"), at(path / "tree/volume"))
        (path / "tree/volume/precious").touch()
        with pytest.raises(OSError) as caught:
            remove_tree(AT_FDCWD, str(path / "tree"))
        assert caught.value.errno in (errno.EXDEV, errno.EBUSY)
        assert (path / "tree/volume/precious").exists()
        with pytest.raises(OSError) as caught:
            remove_tree(AT_FDCWD, str(path / "tree/volume"))
        assert caught.value.errno in (errno.EXDEV, errno.EBUSY)
        assert (path / "tree/volume/precious").exists()

    privately(action)


def test_directories_are_made_with_the_owner_asked_for(privately):
    def action(path) -> None:
        os.close(mkdirs_in_root(at(path), "a/b", 0o2750, 1234, 5678))
        status = (path / "a/b").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o2750)

    privately(action)


def test_a_namespace_is_joined_by_its_descriptor(privately):
    def action(_path) -> None:
        own = os.readlink("/proc/self/ns/uts")
        fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        assert os.readlink("/proc/self/ns/uts") != own
        namespaces.setns(fd, namespaces.CLONE_NEWUTS)
        assert os.readlink("/proc/self/ns/uts") == own

    privately(action)
