"""What a container mounts: the caller's -v, --mount and --tmpfs, and the volumes that its image declares."""

from __future__ import annotations

import os

from tiffin.containers.store import Containers
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any
from tiffin.volumes import MountRequest, parse_mount, parse_tmpfs, parse_volume

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.engine.options import CreateOptions
    from tiffin.images.records import Image
    from tiffin.state import Store
    from tiffin.volumes import PreparedMount


def requests(
    options: CreateOptions, image_volumes: Iterable[str], inherited: Iterable[MountRequest] = ()
) -> list[MountRequest]:
    """Everything to mount; what other containers have, then the image's volumes last, each only where nothing else
    is. Raises InvalidArgument."""
    wanted = [parse_volume(text, os.getcwd()) for text in options.volumes]
    wanted += [parse_mount(text) for text in options.mounts]
    wanted += [parse_tmpfs(text) for text in options.tmpfs]
    taken = {request.target for request in wanted}
    for request in inherited:
        if request.target not in taken:
            taken.add(request.target)
            wanted.append(request)
    for path in image_volumes:
        if not path.startswith("/") or ".." in path.split("/") or ":" in path:
            raise InvalidArgument(
                f"the image declares an invalid volume {path!r}; build it with an absolute path"
            )
        declared = parse_volume(path)._replace(origin="", given="")
        if declared.target not in taken:
            taken.add(declared.target)
            wanted.append(declared)
    if options.volume_driver:
        wanted = [
            one._replace(driver=options.volume_driver) if one.type == "volume" and not one.driver else one
            for one in wanted
        ]
    return wanted


def inherited(store: Store, given: Iterable[str]) -> list[MountRequest]:
    """What --volumes-from "CONTAINER[:ro|rw]" takes over, tmpfs left out as Docker does; of several at one place, the
    last. Raises NotFound, InvalidArgument."""
    found: dict[str, MountRequest] = {}
    for text in given:
        name, colon, mode = text.partition(":")
        if not name or (colon and mode not in ("ro", "rw", "z", "Z")):
            raise InvalidArgument(f"invalid volumesFrom specification: '{text}'")
        for mount in Containers(store).find(name).record.mounts:
            if mount["type"] == "tmpfs":
                continue
            source = str(mount.get("name") or mount["source"])
            options = [word for word in mount["options"] if word not in ("ro", "rw")]
            options.append("ro" if mode == "ro" or not mount.get("rw", True) else "rw")
            found[str(mount["destination"])] = MountRequest(
                str(mount["type"]), source, str(mount["destination"]), tuple(options),
                subpath=str(mount.get("subpath", "")), idmap=str(mount.get("idmap", "")),
                driver=str(mount.get("driver", "local")) if mount.get("name") else "",
            )  # fmt: skip
    return list(found.values())


def images(store: Store, wanted: Iterable[MountRequest]) -> dict[str, Image]:
    """The images among what is to be mounted, by reference. Raises NotFound "No such image: x"."""
    found: dict[str, Image] = {}
    for request in wanted:
        if request.type == "image":
            from tiffin.images.records import find_image

            found[request.source] = find_image(store.db, request.source)
    return found


def document(mount: PreparedMount, request: MountRequest, found: dict[str, Image]) -> dict[str, Any]:
    """As the record keeps it: `source` is a host path, `name` the volume's; an image has its layers.
    `supervisor.volumes` reads it back, `inspect` what was asked for."""
    more: dict[str, Any] = {"origin": request.origin, "given": request.given}
    if mount.subpath:
        more["subpath"] = mount.subpath
    if mount.idmap:
        more["idmap"] = mount.idmap
    if mount.driver != "local":
        more["driver"] = mount.driver
    if mount.type == "image":
        more["layers"] = list(found[mount.source].diff_ids)
    return {
        **more,
        "type": mount.type,
        "source": mount.source,
        "destination": mount.target,
        "options": list(mount.options),
        "name": mount.volume,
        "anonymous": mount.anonymous,
        "copy": mount.copy,
        "rw": "ro" not in mount.options,
    }
