"""Images as Docker's clients expect to see them: `image inspect` and `history`."""

from tiffin.oci.image import diff_ids, format_time, parse_time, platform, settings
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

    from tiffin.images.records import Image
    from tiffin.images.remote import RemoteImage

# The members that Docker always shows, in its order; what else the config has follows.
_SETTINGS: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


def inspect_document(db: "sqlite3.Connection", image: "Image") -> dict[str, Any]:
    """The document of `docker image inspect`."""
    added = db.execute("SELECT added FROM images WHERE id = ?", (image.id,)).fetchone()[0]
    first = {
        "Id": image.id,
        "RepoTags": [parse_reference(name).familiar() for name in image.names],
        "RepoDigests": [parse_reference(text).familiar() for text in image.digests],
    }
    last = {
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": format_time(added)},
        "Descriptor": {"mediaType": image.media_type, "digest": image.manifest},
    }
    return first | _of_config(image.config) | last


def remote_document(image: "RemoteImage") -> dict[str, Any]:
    """The same of an image in a registry, which knows the size of its layers compressed."""
    reference, descriptor = image.reference, image.manifest.descriptor
    first = {
        "Id": image.config_digest,
        "RepoTags": [reference._replace(digest="").familiar()] if reference.tag else [],
        "RepoDigests": [f"{reference.familiar_name()}@{image.target.digest}"],
    }
    last = {
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": list(diff_ids(image.config))},
        "Metadata": {"LastTagTime": format_time(0)},
        "Descriptor": {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
        },
    }
    return first | _of_config(image.config) | last


def _of_config(config: dict[str, Any]) -> dict[str, Any]:
    """What the document says out of the image's config alone."""
    target = platform(config)
    history = config.get("history") or [{}]
    found = {
        "Parent": "",
        "Comment": str(history[-1].get("comment", "")) if history else "",
        "Created": config.get("created") or format_time(0),
        "DockerVersion": str(config.get("docker_version", "")),
        "Author": str(config.get("author", "")),
        "Config": _SETTINGS | settings(config),
        "Architecture": target.architecture,
        "Variant": target.variant,
        "Os": target.os,
    }
    if not target.variant:
        del found["Variant"]
    return found


def history_rows(db: "sqlite3.Connection", image: "Image") -> list[dict[str, Any]]:
    """The rows of `docker history`, newest first: Id, Created (seconds), CreatedBy, Comment, Size, Tags. A
    history that says less than there are layers, or nothing, gets a row for each layer that it leaves out."""
    query = "SELECT l.diff_id, l.size FROM image_layers i JOIN layers l USING (diff_id) WHERE i.image = ?"
    sizes = dict(db.execute(query, (image.id,)))
    waiting = [sizes.get(diff_id, 0) for diff_id in reversed(image.diff_ids)]
    rows = []
    for entry in image.config.get("history") or []:
        size = waiting.pop() if not entry.get("empty_layer") and waiting else 0
        rows.append(_row(entry, size))
    rows.extend(_row({}, waiting.pop()) for _ in range(len(waiting)))
    rows.reverse()
    if rows:
        rows[0]["Id"] = image.id
        rows[0]["Tags"] = [parse_reference(name).familiar() for name in image.names] or None
    return rows


def _row(entry: dict[str, Any], size: int) -> dict[str, Any]:
    return {
        "Id": "<missing>",
        "Created": parse_time(entry.get("created")) // 1_000_000_000,
        "CreatedBy": str(entry.get("created_by", "")),
        "Tags": None,
        "Size": size,
        "Comment": str(entry.get("comment", "")),
    }
