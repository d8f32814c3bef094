"""The whole store checked and repaired: images by their own room, containers, volumes and networks here."""

from __future__ import annotations

import os

from tiffin.containers.record import ContainerRecord
from tiffin.containers.states import SUPERVISED, State
from tiffin.engine import recovery
from tiffin.engine.images import open_images
from tiffin.engine.remote import Later
from tiffin.errors import TiffinError
from tiffin.images.check import Checked, check_images
from tiffin.images.finding import LEFTOVER, Finding
from tiffin.images.repair import repair_images
from tiffin.supervisor import control
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.images.finding import Progress
    from tiffin.state import Store


def fsck(workspace: Workspace, *, repair: bool, progress: Progress | None = None) -> list[Finding]:
    """See SystemService.fsck."""
    with workspace.store() as store:
        recovery.reconcile(store)
        checked = check_images(open_images(store), progress)
        others = _check_others(store)
        if not repair:
            return _sorted([*checked.findings, *others])
        with Later() as registry:
            mended = repair_images(open_images(store), checked, registry)
        outcomes = {finding: _repair(store, finding) for finding in others}
        left = set(_check_others(store))
        mended += [
            finding._replace(outcome=outcome or "not repaired")
            if finding in left
            else finding._replace(outcome=outcome or "done", repaired=True)
            for finding, outcome in outcomes.items()
        ]
        return _sorted(mended)


def _check_others(store: Store) -> list[Finding]:
    checked = Checked()
    _check_containers(store, checked)
    _check_volumes(store, checked)
    _check_networks(store, checked)
    _check_cache_mounts(store, checked)
    return checked.findings


def _sorted(findings: list[Finding]) -> list[Finding]:
    """Damage first; otherwise in the order in which they were found."""
    return sorted(findings, key=lambda finding: finding.severity == LEFTOVER)


# -- containers ----------------------------------------------------------------------------------------------


def _check_containers(store: Store, checked: Checked) -> None:
    known: set[str] = set()
    for container, image, text, status, started in store.db.execute(
        "SELECT id, image, record, status, started FROM containers"
    ).fetchall():
        known.add(container)
        what = _container(store, container, image, text, bool(started) and status == State.EXITED)
        if what:
            checked.damage("container", container, what)
    for name in sorted(set(os.listdir(f"{store.layout.root}/containers")) - known):
        if not _at_work(store, name):
            checked.leftover("container", f"containers/{name}", "belongs to no container")


def _container(store: Store, container: str, image: str, text: str, has_run: bool) -> str:
    """What is wrong with a container; "" when nothing is."""
    try:
        record = ContainerRecord.from_json(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its record cannot be read ({type(error).__name__}): remove it with rm -f"
    if record.id != container or record.image != image:
        return "its record is another container's: remove it with rm -f"
    if store.db.execute("SELECT 1 FROM images WHERE id = ?", (image,)).fetchone() is None:
        return f"its image {image} is not here: load or pull it again"
    missing = [diff_id for diff_id in record.layers if not os.path.isdir(store.layout.layer(diff_id))]
    if missing:
        return f"its layer {missing[0]} is not here: repair, or load its image again"
    if has_run and not os.path.isdir(f"{store.layout.container(container)}/upper"):
        return "its files are gone: remove it with rm"
    return ""


def _at_work(store: Store, name: str) -> bool:
    """Whether there is a container of this name by now, or somebody who makes or removes one."""
    row = store.db.execute("SELECT 1 FROM containers WHERE id = ?", (name,)).fetchone()
    if row is not None or len(name) != 64:
        return row is not None
    held = control.is_held(store.layout, name)
    if not held:
        control.discard(store.layout, name)
    return held


# -- volumes and networks ------------------------------------------------------------------------------------


def _check_volumes(store: Store, checked: Checked) -> None:
    with store.transaction() as db:  # whoever makes or removes one does so in a transaction
        rows = {name for (name,) in db.execute("SELECT name FROM volumes")}
        there = set(os.listdir(f"{store.layout.root}/volumes"))
    for name in sorted(rows - there):
        # A row comes before its directory, and is made with it when the volume is next used.
        checked.leftover("volume", name, "has no directory", "make it, empty")
    for name in sorted(there - rows):
        checked.damage("volume", name, "has files but no row", "record it again")


def _check_networks(store: Store, checked: Checked) -> None:
    """Addresses and ports of containers that are no more; a build's step has no row, but a directory in staging."""
    query = """SELECT container FROM endpoints UNION SELECT container FROM published_ports
        EXCEPT SELECT id FROM containers ORDER BY 1"""
    for (owner,) in store.db.execute(query).fetchall():
        if not os.path.exists(f"{store.layout.staging}/{owner}"):
            checked.leftover("network", owner, "has an address or port and is no more", "release it")


def _check_cache_mounts(store: Store, checked: Checked) -> None:
    from tiffin.build.running import cache_mounts

    rows, directories = cache_mounts.strays(store)
    for name in rows:
        checked.leftover("cache mount", name, "has no directory", "forget it")
    for name in directories:
        checked.leftover("cache mount", name, "has no row")


# -- repair --------------------------------------------------------------------------------------------------


def _repair(store: Store, finding: Finding) -> str:
    """Try to; why not, "" when it was done or there was nothing to do."""
    try:
        if finding.kind == "container" and finding.severity == LEFTOVER:
            from tiffin.kernel.paths import AT_FDCWD, remove_tree

            if not _at_work(store, os.path.basename(finding.name)):
                remove_tree(AT_FDCWD, f"{store.layout.root}/{finding.name}")
        elif finding.kind == "volume":
            from tiffin.volumes import Volumes

            Volumes(store).create(finding.name)
        elif finding.kind == "cache mount":
            from tiffin.build.running import cache_mounts

            cache_mounts.remove(store, finding.name)
        elif finding.kind == "network":
            from tiffin.network.manager import Networks

            rows = store.db.execute("SELECT id, status FROM containers")
            Networks(store).reconcile({container for container, status in rows if status in SUPERVISED})
    except (TiffinError, OSError) as error:
        return str(error)
    return ""
