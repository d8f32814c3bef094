"""Volumes and mount options: what `-v`, `--mount` and `--tmpfs` ask for, and where it lies on the host."""

from tiffin.volumes.manager import PreparedMount, Volume, Volumes
from tiffin.volumes.mount_option import parse_mount
from tiffin.volumes.options import MountRequest, check_targets, parse_tmpfs, parse_volume

__all__ = [
    "MountRequest",
    "PreparedMount",
    "Volume",
    "Volumes",
    "check_targets",
    "parse_mount",
    "parse_tmpfs",
    "parse_volume",
]
