"""--squash: one layer of all that a Dockerfile makes, on top of its base, as a step like any other.

    base ─ step ─ step ─ ... ─ target          the layers that the target adds, as one: what both trees show
      └───────────────────────── squash        is the same, and what a later step removed is nowhere

The tree below the target's own layers is never compared file by file: only where these layers have a name can the two
trees differ.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack

from tiffin.build.copying.place import copy_data
from tiffin.build.copying.tree import Node, node_of
from tiffin.build.planning.graph import BaseWork, Plan, SquashWork, Step
from tiffin.kernel.paths import remove_tree
from tiffin.layer.walk import is_whiteout
from tiffin.layer.xattrs import is_kept
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.solving.steps import Layers
    from tiffin.state import Layout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def squashed(plan: Plan) -> Plan:
    """The plan with the step that squashes as its target; itself when there is nothing to squash."""
    base = plan.target
    while plan.steps[base].parent >= 0:
        base = plan.steps[base].parent
    if base == plan.target or not isinstance(plan.steps[base].work, BaseWork):
        return plan
    end = plan.steps[plan.target]
    number = len(plan.steps)
    step = Step(number, base, (plan.target,), SquashWork(), "squash", "squash", end.keyword, end.line)
    return plan._replace(steps=[*plan.steps, step], target=number)


def squash(layout: Layout, below: Layers, all_of_it: Layers, epoch: int) -> dict[str, Any]:
    """The worker's part."""
    from tiffin.build.copying.mounting import mounted
    from tiffin.build.solving.steps import Stack

    with Stack(layout, below, epoch) as stack, ExitStack() as opened:
        snapshots = stack.rooms.snapshots
        own = [layer.diff_id for layer in all_of_it[len(below) :]]
        tops = [
            os.open(snapshots.layer_path(diff_id), _DIRECTORY) for diff_id in dict.fromkeys(reversed(own))
        ]
        for fd in tops:
            opened.callback(os.close, fd)
        with (
            mounted(snapshots.root_mount([layer.diff_id for layer in all_of_it], readonly=True)) as source,
            stack.writable() as target,
        ):
            _Copy(target).directory(source, target, tops)
            _dress(source, target)
        return stack.finish()


class _Copy:
    """Makes the tree `top` like another where layers say that they differ."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._links: dict[tuple[int, int], str] = {}  # the first path of files with several

    def directory(self, source: int, target: int, layers: list[int], path: str = "") -> None:
        """`layers` are the directories of this place in the layers that have it, topmost first."""
        wanted = set(os.listdir(source))
        for name in sorted(set(os.listdir(target)) - wanted, key=os.fsencode):
            remove_tree(target, name)
        named = {name for fd in layers for name in os.listdir(fd)}
        for name in sorted(named & wanted, key=os.fsencode):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._below(source, target, name, layers, path)
            else:
                self._thing(node_of(name, status), source, target, path)

    def _below(self, source: int, target: int, name: str, layers: list[int], path: str) -> None:
        with ExitStack() as opened:

            def into(fd: int) -> int:
                found = os.open(name, _DIRECTORY, dir_fd=fd)
                opened.callback(os.close, found)
                return found

            try:
                here = into(target)
            except (FileNotFoundError, NotADirectoryError):
                remove_tree(target, name)
                os.mkdir(name, 0o700, dir_fd=target)
                here = into(target)
            there = into(source)
            self.directory(
                there, here, [into(fd) for fd in layers if _is_directory(fd, name)], f"{path}{name}/"
            )
            _dress(there, here)

    def _thing(self, node: Node, source: int, target: int, path: str) -> None:
        name = node.path
        remove_tree(target, name)
        if node.is_file:
            self._file(node, source, target, path)
            return
        if node.is_link:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, stat.S_IFMT(node.mode) | 0o600, node.rdev, dir_fd=target)
        os.chown(name, node.uid, node.gid, dir_fd=target, follow_symlinks=False)
        if not node.is_link:
            os.chmod(name, stat.S_IMODE(node.mode), dir_fd=target)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=target, follow_symlinks=False)

    def _file(self, node: Node, source: int, target: int, path: str) -> None:
        reader = os.open(node.path, _FILE, dir_fd=source)
        try:
            status = os.fstat(reader)
            inode = status.st_dev, status.st_ino
            if status.st_nlink > 1 and inode in self._links:
                first = self._links[inode]  # through real directories alone, in a mount of this process's own
                os.link(first, node.path, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
                return
            writer = os.open(node.path, _CREATE, 0o600, dir_fd=target)
            try:
                copy_data(reader, writer, status)
                _dress(reader, writer)
            finally:
                os.close(writer)
            if status.st_nlink > 1:
                self._links[inode] = f"{path}{node.path}"
        finally:
            os.close(reader)


def _is_directory(fd: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and not is_whiteout(status)


def _dress(source: int, target: int) -> None:
    """Owner, mode, attributes and times, in this order: a change of owner takes setuid and file capabilities away."""
    status, now = os.fstat(source), os.fstat(target)
    if (status.st_uid, status.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(target, status.st_uid, status.st_gid)
        now = os.fstat(target)
    if status.st_mode != now.st_mode:
        os.fchmod(target, stat.S_IMODE(status.st_mode))
    wanted = {name: os.getxattr(source, name) for name in os.listxattr(source) if is_kept(name)}
    had = {name: os.getxattr(target, name) for name in os.listxattr(target) if is_kept(name)}
    for name in had.keys() - wanted.keys():
        os.removexattr(target, name)
    for name, value in wanted.items():
        if had.get(name) != value:
            os.setxattr(target, name, value)
    if status.st_mtime_ns != os.fstat(target).st_mtime_ns:
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
