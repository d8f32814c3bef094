"""What a killed build leaves: its step's container, for a moment still running, with cgroup and address, and its
workspace.

A living step holds the lock of its workspace, and takes the rest down before it lets go of that. So a cgroup of
a step whose workspace is unlocked, or gone, is nobody's.
"""

from __future__ import annotations

import fcntl
import os

from tiffin.kernel.locks import is_locked
from tiffin.kernel.paths import remove_tree
from tiffin.runtime.cgroups import detect, open_cgroup
from tiffin.state import Store

PREFIX = "build-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def sweep(store: Store) -> None:
    """Take down the containers of dead steps, and remove their workspaces. Idempotent; safe beside other builds. Some
    listings when there is nothing to do.
    """
    _take_down(store)
    _remove_workspaces(store.layout.staging)


def _take_down(store: Store) -> None:
    layout = store.layout
    names: set[str] = set()
    for mount in detect().mounts():
        try:
            names.update(name for name in os.listdir(f"{mount}/{layout.cgroup}") if name.startswith(PREFIX))
        except FileNotFoundError:
            continue
    query = (
        "SELECT container FROM endpoints WHERE container GLOB ?"  # also of one killed before it had a cgroup
    )
    names.update(name for (name,) in store.db.execute(query, (f"{PREFIX}*",)))
    if not names:
        return
    from tiffin.network.manager import Networks

    for name in sorted(names):
        if not is_locked(f"{layout.staging}/{name}"):
            open_cgroup(f"{layout.cgroup}/{name}").delete()
            Networks(store).detach(name)


def _remove_workspaces(staging: str) -> None:
    """Those whose lock is free; beside a collector, who does the same."""
    parent = os.open(staging, _DIRECTORY)
    try:
        for name in os.listdir(parent):
            if not name.startswith(PREFIX):
                continue
            try:
                fd = os.open(name, _DIRECTORY, dir_fd=parent)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(parent, name)
            except BlockingIOError:
                continue
            finally:
                os.close(fd)
    finally:
        os.close(parent)
