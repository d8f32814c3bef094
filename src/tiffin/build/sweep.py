"""What a killed build leaves: its step's container, for a moment still running, with cgroup and address.

A living step holds the lock of its workspace, and takes the rest down before it lets go of that. So a cgroup of
a step whose workspace is unlocked, or gone, is nobody's.
"""

from __future__ import annotations

import os

from tiffin.kernel.locks import is_locked
from tiffin.runtime.cgroups import detect, open_cgroup
from tiffin.state import Store

PREFIX = "build-"


def sweep(store: Store) -> None:
    """Take down the containers of dead steps. Idempotent; safe beside other builds. One listing when there is
    nothing to do. Their workspaces are the collector's.
    """
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
