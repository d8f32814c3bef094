"""--output: what becomes of what was built, as BuildKit's exporters have it.

    type=image     an image here, under its names; push=true sends it to its registry too
    type=registry  the same with push=true
    type=docker    an image here; with dest an archive that `docker load` reads
    type=oci       an archive with an OCI image layout, or with tar=false a directory
    type=tar       the files of the result as a tar
    type=local     the files of the result in a directory
    type=cacheonly nothing

`DIR` alone is type=local,dest=DIR and `-` is type=tar,dest=-. A word that is not known is an error, never ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from tiffin.build.results.fields import Fields, nearest, split
from tiffin.errors import InvalidArgument
from tiffin.oci.platform import Platform, parse_platform
from tiffin.oci.reference import parse_reference, shown
from tiffin.typed import NamedTuple

KINDS = ("image", "registry", "docker", "oci", "tar", "local", "cacheonly")
COMPRESSIONS = ("gzip", "zstd", "uncompressed")
_LEVELS = {"gzip": (0, 9), "zstd": (1, 22)}
_IMAGE_KEYS = (
    *("name", "compression", "compression-level", "force-compression", "oci-mediatypes"),
    *("annotation", "annotation-manifest", "annotation-index", "annotation-manifest-descriptor"),
)
_KEYS = {
    "image": ("type", "push", *_IMAGE_KEYS),
    "registry": ("type", "push", *_IMAGE_KEYS),
    "docker": ("type", "dest", *_IMAGE_KEYS),
    "oci": ("type", "dest", "tar", *_IMAGE_KEYS),
    "tar": ("type", "dest", "platform-split"),
    "local": ("type", "dest", "platform-split"),
    "cacheonly": ("type",),
}
_SCOPES = {
    "annotation": "manifest",
    "annotation-manifest": "manifest",
    "annotation-index": "index",
    "annotation-manifest-descriptor": "manifest-descriptor",
}
_ANNOTATION = r"(?P<scope>[a-z-]+)(?:\[(?P<platform>[^]]*)\])?"
_ANNOTATIONS_MAX = 1000


class Annotation(NamedTuple):
    """`scope` is where it goes: "manifest", "index" or "manifest-descriptor" (the entry of an index). `platform`: of
    which image, None for each."""

    scope: str
    platform: Platform | None
    key: str
    value: str


class Output(NamedTuple):
    """One --output. `names` are full references that replace the build's, None for those. `compression` "": layers as
    they are stored; else those that this build made, with `force` the base's too, are compressed so; `level` -1 is
    what is usual. `tar` False: a directory. `split`: a directory for each platform, None where there are several.
    """

    kind: str
    dest: str = ""
    names: tuple[str, ...] | None = None
    push: bool = False
    compression: str = ""
    level: int = -1
    force: bool = False
    docker_types: bool = False
    annotations: tuple[Annotation, ...] = ()
    tar: bool = True
    split: bool | None = None

    @property
    def is_image(self) -> bool:
        """Whether it is an image in the store."""
        return self.kind == "image"


def parse_outputs(texts: Sequence[str], annotations: Sequence[str]) -> tuple[Output, ...]:
    """What the texts ask for, an image here when they ask for nothing; every output that has a manifest has the
    `annotations`. Raises InvalidArgument."""
    outputs = [parse_output(text) for text in texts] or [Output("image")]
    given = tuple(each for text in annotations for each in parse_annotation(text))
    if given and not any(output.kind in ("image", "docker", "oci") for output in outputs):
        raise InvalidArgument("--annotation needs an image: none of the outputs has a manifest")
    streams = [output for output in outputs if output.dest == "-"]
    if len(streams) > 1:
        raise InvalidArgument("only one output can go to standard output; give the others a dest")
    for output in outputs:
        if output.dest and output.dest != "-" and sum(o.dest == output.dest for o in outputs) > 1:
            raise InvalidArgument(f"two outputs have the dest {shown(output.dest)}; give each its own")
    return tuple(output._replace(annotations=given + output.annotations) for output in outputs)


def parse_output(text: str) -> Output:
    """One --output. Raises InvalidArgument."""
    fields = split("--output", text)
    if len(fields) == 1 and "=" not in text and not text.startswith("type="):
        if text == "-":
            return Output("tar", "-")
        return Output("local", os.path.abspath(text))
    values = Fields("--output", text)
    kind = values.word("type", KINDS)
    if not kind:
        raise values.refused(f"say what, with type=: one of {', '.join(KINDS)}")
    dest = values.take("dest")
    if not dest and kind == "local":
        raise values.refused("dest is required for local: the directory to write to")
    if dest and "dest" not in _KEYS[kind]:
        raise values.refused(f"{kind} has no dest{'; did you mean type=oci?' if kind == 'image' else ''}")
    made = Output("image" if kind == "registry" else kind, _place(dest, kind), push=kind == "registry")
    if "compression" in _KEYS[kind]:
        made = _image_options(made, values)
    if kind in ("image", "registry"):
        made = made._replace(push=values.switch("push", default=made.push))
    if kind == "docker" and not dest:
        made = made._replace(kind="image")
    if kind == "oci":
        made = made._replace(tar=values.switch("tar", default=True))
        if not made.tar and made.dest == "-":
            raise values.refused("tar=false needs a directory as dest")
    if "platform-split" in _KEYS[kind] and values.has("platform-split"):
        made = made._replace(split=values.switch("platform-split"))
    values.end(_KEYS[kind])
    return made


def _place(dest: str, kind: str) -> str:
    if kind in ("oci", "tar") and not dest:
        return "-"
    return dest if dest in ("", "-") else os.path.abspath(dest)


def _image_options(output: Output, values: Fields) -> Output:
    names = None
    if values.has("name"):
        texts = [each.strip() for each in values.take("name").split(",")]
        names = tuple(str(parse_reference(each)) for each in texts if each)
    compression = values.word("compression", COMPRESSIONS)
    level = values.number("compression-level", -1)
    force = values.switch("force-compression")
    if (level >= 0 or force) and not compression:
        compression = "gzip"
    if level >= 0:
        low, high = _LEVELS.get(compression, (0, -1))
        if not low <= level <= high:
            raise values.refused(
                f"compression-level={level}: {compression} has {f'{low} to {high}' if high > 0 else 'no levels'}"
            )
    docker_types = not values.switch("oci-mediatypes", default=True)
    if docker_types and compression == "zstd":
        raise values.refused("zstd is not among Docker's media types; leave out oci-mediatypes=false")
    annotations = []
    for key, value in values.starting("annotation"):
        place, dot, name = key.partition(".")
        annotations += _annotations(place, name, value, f"{key}={value}") if dot else [_no_annotation(key)]
    return output._replace(
        names=names,
        compression=compression,
        level=level,
        force=force,
        docker_types=docker_types,
        annotations=tuple(annotations),
    )


def _no_annotation(text: str) -> Annotation:
    raise InvalidArgument(f"invalid annotation {shown(text)!r}: want annotation.KEY=VALUE")


def parse_annotation(text: str) -> list[Annotation]:
    """An --annotation: `[SCOPE[,SCOPE...]:]KEY=VALUE`, a scope being manifest, index or manifest-descriptor, the first
    and last with [PLATFORM] behind it or not. Raises InvalidArgument."""
    scopes, colon, rest = text.partition(":")
    if not colon or "=" in scopes or not _looks_like_scopes(scopes):
        scopes, rest = "manifest", text
    key, equals, value = rest.partition("=")
    if not equals or not key:
        raise InvalidArgument(f'invalid argument "{shown(text)}" for "--annotation": want KEY=VALUE')
    found = []
    for scope in re.split(r",(?![^\[]*\])", scopes):
        found += _annotations(f"annotation-{scope}", key, value, text)
    return found


def _looks_like_scopes(text: str) -> bool:
    words = [re.sub(r"\[.*", "", word) for word in text.split(",")]
    return all(re.fullmatch(r"(manifest|index|manifest-descriptor|index-descriptor)", word) for word in words)


def _annotations(place: str, key: str, value: str, text: str) -> list[Annotation]:
    match = re.fullmatch(_ANNOTATION, place)
    scope = _SCOPES.get(match["scope"]) if match else None
    if match is None or scope is None:
        word = match["scope"] if match else place
        raise InvalidArgument(f"invalid annotation {shown(text)!r}: {shown(word)}{nearest(word, _SCOPES)}")
    if not key:
        raise InvalidArgument(f"invalid annotation {shown(text)!r}: it has no key")
    platform = parse_platform(match["platform"]) if match["platform"] else None
    if platform is not None and scope == "index":
        raise InvalidArgument(f"invalid annotation {shown(text)!r}: an index is for every platform")
    return [Annotation(scope, platform, key, value)]


def annotations_for(
    annotations: Sequence[Annotation], scope: str, platform: Platform | None
) -> dict[str, str]:
    """What of them belongs there, sorted by key; of a key given twice the last. Raises InvalidArgument (too many)."""
    found = {
        each.key: each.value
        for each in annotations
        if each.scope == scope and each.platform in (None, platform)
    }
    if len(found) > _ANNOTATIONS_MAX:
        raise InvalidArgument(f"more than {_ANNOTATIONS_MAX} annotations")
    return dict(sorted(found.items()))
