"""What a container mounts: the caller's -v, --mount and --tmpfs, and the volumes that its image declares."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any
from tiffin.volumes import MountRequest, parse_mount, parse_tmpfs, parse_volume

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.engine.options import CreateOptions
    from tiffin.volumes import PreparedMount


def requests(options: CreateOptions, image_volumes: Iterable[str]) -> list[MountRequest]:
    """Everything to mount, the image's volumes last, each only where nothing else is. Raises InvalidArgument."""
    wanted = [parse_volume(text, os.getcwd()) for text in options.volumes]
    wanted += [parse_mount(text) for text in options.mounts]
    wanted += [parse_tmpfs(text) for text in options.tmpfs]
    taken = {request.target for request in wanted}
    for path in image_volumes:
        if not path.startswith("/") or ".." in path.split("/") or ":" in path:
            raise InvalidArgument(
                f"the image declares an invalid volume {path!r}; build it with an absolute path"
            )
        declared = parse_volume(path)
        if declared.target not in taken:
            taken.add(declared.target)
            wanted.append(declared)
    return wanted


def document(mount: PreparedMount) -> dict[str, Any]:
    """As the record keeps it: `source` is a host path, `name` the volume's. `supervisor.volumes` reads it back."""
    return {
        "type": mount.type,
        "source": mount.source,
        "destination": mount.target,
        "options": list(mount.options),
        "name": mount.volume,
        "anonymous": mount.anonymous,
        "copy": mount.copy,
        "rw": "ro" not in mount.options,
    }
