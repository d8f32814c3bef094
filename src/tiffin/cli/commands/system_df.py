"""`tiffin system df`."""

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing, template
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.usage import Usage

DESCRIPTION = """\
Show what images, containers, volumes and the build cache take up on disk, and how much of it would come free if what is
not in use went. Sizes are allocated bytes, as du counts them; Other is what the engine itself needs and what nothing
names.
"""
EXAMPLES = """\
tiffin system df
tiffin system df -v
tiffin system df --format '{{.Type}}: {{.Reclaimable}}'
"""
_HEADINGS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_IMAGES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
_CONTAINERS = ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")
_VOLUMES = ("VOLUME NAME", "LINKS", "SIZE")
_CACHE = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "SHARED", "STEP")


def arguments(parser: "CommandParser") -> None:
    parser.switch("-v", "--verbose", help="list every image, container, volume and step")
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)


def run(args: "Namespace", session: "Session") -> int:
    if not args.verbose:
        listing = Listing(args.format, _HEADINGS, tuple(_HEADINGS))
        listing.print(_summary(session.engine.system.usage()))
        return 0
    form = template(args.format) if args.format not in ("", "table", "json") else None
    lists = {
        "Images": (_IMAGES, "Images space usage:", _images),
        "Containers": (_CONTAINERS, "Containers space usage:", _containers),
        "Volumes": (_VOLUMES, "Local Volumes space usage:", _volumes),
        "BuildCache": (_CACHE, "Build cache usage:", _cache),
    }
    usage = session.engine.system.usage()
    found = {name: (headings, title, list(rows(usage))) for name, (headings, title, rows) in lists.items()}
    if args.format in ("", "table"):
        for number, (headings, title, rows) in enumerate(found.values()):
            cached = usage.images.cache_size + sum(one.size for one in usage.cache_mounts)
            total = f" {output.size(cached)}" if title.startswith("Build") else ""
            print(f"{chr(10) if number else ''}{title}{total}\n")
            output.table(headings, rows)
        return 0
    from tiffin.cli.template import Struct, json_text

    whole = Struct(
        {
            name: [Struct(zip(map(_field, headings), row, strict=True)) for row in rows]
            for name, (headings, _, rows) in found.items()
        }
    )
    print(json_text(whole) if form is None else form.render(whole, clean=output.escape))
    return 0


def _field(heading: str) -> str:
    """ "IMAGE ID" → ImageID, as Docker names its fields."""
    words = [word if word == "ID" else word.capitalize() for word in heading.split()]
    return {"ImageID": "ID", "ContainerID": "ID", "CacheID": "ID", "VolumeName": "Name"}.get(
        "".join(words), "".join(words)
    )


def _summary(usage: "Usage") -> "Sequence[Mapping[str, Any]]":
    images, containers, volumes = usage.images, usage.containers, usage.volumes
    rows = [
        (
            "Images",
            len(images.images),
            sum(1 for image in images.images if image.containers),
            images.size,
            images.reclaimable,
        ),
        (
            "Containers",
            len(containers),
            sum(1 for one in containers if one.active),
            sum(one.size for one in containers),
            sum(one.size for one in containers if not one.active),
        ),
        (
            "Local Volumes",
            len(volumes),
            sum(1 for one in volumes if one.links),
            sum(one.size for one in volumes),
            sum(one.size for one in volumes if not one.links),
        ),
        (
            "Build Cache",
            len(images.cache) + len(usage.cache_mounts),
            sum(1 for one in usage.cache_mounts if one.in_use),
            images.cache_size + sum(one.size for one in usage.cache_mounts),
            images.cache_size + sum(one.size for one in usage.cache_mounts if not one.in_use),
        ),
        ("Other", 0, 0, usage.other, usage.other_reclaimable),
    ]
    return [dict(zip(_HEADINGS, _row(*row), strict=True)) for row in rows]


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> tuple[str, ...]:
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return kind, str(total), str(active), output.size(size), f"{output.size(reclaimable)}{share}"


def _images(usage: "Usage") -> "Iterator[tuple[str, ...]]":
    from tiffin.oci.reference import parse_reference

    for image in usage.images.images:
        facts = (
            image.id.removeprefix("sha256:")[:12],
            output.since(image.created) if image.created else "N/A",
            *map(output.size, (image.size, image.shared, image.unique)),
            str(image.containers),
        )
        for name in image.names or ("",):
            reference = parse_reference(name) if name else None
            familiar = reference.familiar() if reference is not None else "<none>"
            tagged = reference is not None and not reference.digest
            repository, _, tag = (
                familiar.rpartition(":") if tagged else (familiar.partition("@")[0], "", "<none>")
            )
            yield repository, tag, *facts


def _containers(usage: "Usage") -> "Iterator[tuple[str, ...]]":
    for one in usage.containers:
        command = " ".join(one.command)
        shown = command if len(command) <= 20 else command[:19] + "…"
        yield (
            one.id[:12],
            one.image,
            f'"{shown}"',
            str(one.volumes),
            output.size(one.size),
            output.since(one.created),
            one.status,
            one.name,
        )


def _volumes(usage: "Usage") -> "Iterator[tuple[str, ...]]":
    for one in usage.volumes:
        yield one.name, str(one.links), output.size(one.size) if one.driver == "local" else "N/A"


def _cache(usage: "Usage") -> "Iterator[tuple[str, ...]]":
    for step in usage.images.cache:
        facts = output.size(step.size), output.since(step.created), output.since(step.used)
        key = step.key.removeprefix("sha256:")[:12]
        yield key, "regular", *facts, "true" if step.shared else "false", step.created_by[:60]
    for mount in usage.cache_mounts:
        facts = output.size(mount.size), output.since(mount.created), output.since(mount.used)
        yield mount.name[:12], "exec.cachemount", *facts, "false", mount.id[:60]
