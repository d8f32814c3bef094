"""Layers to mounts. A layer is unpacked once, under `layers/<hex of its DiffID>`, and shared by every image.

What a snapshot store promises is the `SnapshotStore` Protocol (store.py), with its suite in
tests/suites/snapshot.py; `Snapshots` (overlay.py) keeps trees in the form that overlayfs stacks.
"""

from tiffin.oci.mount import Mount
from tiffin.snapshot.overlay import Snapshots

__all__ = ["Mount", "Snapshots"]
