"""What --cache-from and --cache-to say, and how results of steps are written down for other engines.

    --cache-to   type=local,dest=DIR    an OCI image layout          mode=min: what the result is made of
                 type=registry,ref=REF  a manifest in a registry     mode=max: every step
                 type=inline            within the image's config, for the steps of the result
    --cache-from type=local,src=DIR | type=registry,ref=REF | REF    any of these

The records are one document, the config of a manifest whose layers are the steps' layers:

    {"version": 1, "layers": [DiffID of each layer of the manifest],
     "records": [{"key", "names", "created", "createdBy", "outline", "layer": which, -1 for none},
                 {"key", "names", "absent": true}]}

What is absent is a step whose files are not there, only what it is called: a COPY from it is recognised by that.

A key says all that a step depends on, so a record is either for the very same step or of no use. What it cannot say is
whether its layer is what the step gives: that is believed of whoever wrote it, which is why nothing is ever read from
anywhere that was not named with --cache-from. Layers are held to their digests and DiffIDs all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from tiffin.build.cache import Cached, Kept, Layer
from tiffin.build.results.fields import Fields
from tiffin.errors import Corrupt, InvalidArgument
from tiffin.oci.descriptor import LAYERS, LAYERS_MAX, Descriptor, decode_json, encode_json
from tiffin.oci.digest import is_digest
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tiffin.build.solving.export import Solved

CONFIG = "application/vnd.tiffin.buildcache.v1+json"
INLINE = "tiffin.buildcache.v1"  # the member of an image's config
_VERSION = 1
_RECORDS_MAX = 20_000
_NAMES_MAX = 8
_TEXT_MAX = 500
_TIME_MAX = 1 << 62
_FROM = {"local": ("type", "src"), "registry": ("type", "ref")}
_TO = {
    "local": ("type", "dest", "mode", "ignore-error"),
    "registry": ("type", "ref", "mode", "ignore-error"),
    "inline": ("type",),
}
_MODES = ("min", "max")


class CacheSource(NamedTuple):
    """A place to take results from: the full reference `ref`, or the directory `path`."""

    ref: str = ""
    path: str = ""

    @property
    def name(self) -> str:
        return self.ref or self.path


class CacheTarget(NamedTuple):
    """A place to bring results to; neither `ref` nor `path`: into the image."""

    ref: str = ""
    path: str = ""
    everything: bool = False
    may_fail: bool = False


def parse_source(text: str) -> CacheSource:
    """One --cache-from. Raises InvalidArgument."""
    if "=" not in text:
        return CacheSource(str(parse_reference(text)))
    fields = Fields("--cache-from", text)
    kind = fields.word("type", tuple(_FROM), "registry")
    found = CacheSource()
    if kind == "registry":
        if not (ref := fields.take("ref")):
            raise fields.refused("ref is required: the image or cache in its registry")
        found = CacheSource(str(parse_reference(ref)))
    else:
        if not (path := fields.take("src")):
            raise fields.refused("src is required: the directory that --cache-to wrote")
        found = CacheSource(path=os.path.abspath(path))
    fields.end(_FROM[kind])
    return found


def parse_target(text: str) -> CacheTarget:
    """One --cache-to: a name alone is one in a registry. Raises InvalidArgument."""
    if "=" not in text:
        return CacheTarget(ref=str(parse_reference(text)))
    fields = Fields("--cache-to", text)
    kind = fields.word("type", tuple(_TO), "registry")
    found = CacheTarget()
    if kind == "registry":
        if not (ref := fields.take("ref")):
            raise fields.refused("ref is required: the name in the registry")
        found = CacheTarget(ref=str(parse_reference(ref)))
    elif kind == "local":
        if not (path := fields.take("dest")):
            raise fields.refused("dest is required: the directory to write to")
        found = CacheTarget(path=os.path.abspath(path))
    if kind != "inline":
        everything = fields.word("mode", _MODES, "min") == "max"
        found = found._replace(everything=everything, may_fail=fields.switch("ignore-error"))
    fields.end(_TO[kind])
    return found


class CacheDocument(NamedTuple):
    """The bytes of the document, and the layers that its manifest is to have. `left_out` results did not fit."""

    data: bytes
    layers: tuple[Layer, ...]
    left_out: int


def write_document(solved: Iterable[Solved], *, everything: bool) -> CacheDocument:
    """The results of a build, for a place of their own."""
    chosen: dict[str, Kept] = {}
    for kept in sorted((kept for one in solved for kept in one.kept), key=lambda kept: not kept.in_result):
        chosen.setdefault(kept.found.key, kept)
    layers: dict[str, Layer] = {}
    records: list[dict[str, Any]] = []
    for kept in chosen.values():
        layer = kept.found.layer
        if kept.absent or not (everything or kept.in_result):
            records.append(_absent(kept))
            continue
        if len(records) >= _RECORDS_MAX or (
            layer is not None and layer.diff_id not in layers and len(layers) >= LAYERS_MAX
        ):
            continue
        at = -1
        if layer is not None:
            layers.setdefault(layer.diff_id, layer)
            at = list(layers).index(layer.diff_id)
        records.append(_record(kept, at))
    document = {"version": _VERSION, "layers": list(layers), "records": records}
    return CacheDocument(encode_json(document), tuple(layers.values()), len(chosen) - len(records))


def with_inline(solved: Solved) -> dict[str, Any]:
    """The config of a result that says by which steps it was made."""
    at = {layer.diff_id: number for number, layer in enumerate(solved.layers)}
    records = [
        _record(kept, at.get(kept.found.layer.diff_id, -1) if kept.found.layer is not None else -1)
        for kept in solved.kept
        if kept.in_result and (kept.found.layer is None or kept.found.layer.diff_id in at)
    ]
    records += [_absent(kept) for kept in solved.kept if not kept.in_result]
    return {**solved.document, INLINE: {"version": _VERSION, "records": records}}


def _absent(kept: Kept) -> dict[str, Any]:
    found: dict[str, Any] = {"key": kept.found.key, "absent": True}
    if kept.names:
        found["names"] = list(kept.names)
    if kept.outline:
        found["outline"] = kept.outline
    return found


def _record(kept: Kept, layer: int) -> dict[str, Any]:
    found: dict[str, Any] = {"key": kept.found.key, "created": kept.found.created, "layer": layer}
    if kept.names:
        found["names"] = list(kept.names)
    if kept.outline:
        found["outline"] = kept.outline
    found["createdBy"] = kept.created_by[:_TEXT_MAX]
    return found


class Records(NamedTuple):
    """What a place offers: results by each of their keys, the own keys of steps whose result it has not by each of
    these, and outlines that are known there."""

    by_key: dict[str, Kept]
    absent: dict[str, str]
    outlines: frozenset[str]


def read_document(data: bytes, layers: Sequence[Descriptor]) -> Records:
    """The records of a document by itself; `layers` are its manifest's. Raises Corrupt, LimitExceeded."""
    what = "the build cache's document"
    document = decode_json(data, what)
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise Corrupt(f"{what} is of a version that is not known here")
    return _records(document.get("records"), document.get("layers"), layers, what)


def read_inline(config: dict[str, Any], layers: Sequence[Descriptor]) -> Records | None:
    """The records within a checked image config, None when it has none. Raises Corrupt."""
    member = config.get(INLINE)
    if member is None:
        return None
    what = f"{INLINE} of the image's config"
    if not isinstance(member, dict) or member.get("version") != _VERSION:
        raise Corrupt(f"{what} is of a version that is not known here")
    return _records(member.get("records"), config["rootfs"].get("diff_ids") or [], layers, what)


def _records(items: Any, ids: Any, layers: Sequence[Descriptor], what: str) -> Records:
    if not isinstance(items, list) or len(items) > _RECORDS_MAX:
        raise Corrupt(f"{what} has no list of at most {_RECORDS_MAX} records")
    if not isinstance(ids, list) or len(ids) != len(layers) or not all(map(_is_digest, ids)):
        raise Corrupt(f"{what} does not have a DiffID for each layer")
    usable = [
        Layer(diff_id, layer.digest, layer.media_type, layer.size) if layer.media_type in LAYERS else None
        for diff_id, layer in zip(ids, layers, strict=True)
    ]
    by_key: dict[str, Kept] = {}
    absent: dict[str, str] = {}
    outlines = set()
    for item in items:
        gone = isinstance(item, dict) and item.get("absent") is True
        kept = _checked({**item, "layer": -1, "created": 0} if gone else item, usable, what)
        for key in (kept.found.key, *kept.names):
            if gone:
                absent.setdefault(key, kept.found.key)
            else:
                by_key.setdefault(key, kept)
        outlines.add(kept.outline)
    return Records(by_key, absent, frozenset(outlines - {""}))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and is_digest(value)


def _checked(item: Any, layers: Sequence[Layer | None], what: str) -> Kept:
    if not isinstance(item, dict):
        raise Corrupt(f"{what} has a record that is no object")
    names: Any = item.get("names", [])
    at: Any = item.get("layer")
    created: Any = item.get("created")
    good = (
        isinstance(names, list)
        and len(names) <= _NAMES_MAX
        and all(map(_is_digest, (item.get("key"), *names)))
        and type(at) is int
        and -1 <= at < len(layers)
        and type(created) is int
        and 0 <= created < _TIME_MAX
    )
    outline, text = item.get("outline", ""), item.get("createdBy", "")
    good = good and (outline == "" or _is_digest(outline)) and isinstance(text, str)
    if not good:
        raise Corrupt(f"{what} has a malformed record")
    layer = layers[at] if at >= 0 else None
    if at >= 0 and layer is None:
        raise Corrupt(f"{what} has a record of a layer that is none")
    return Kept(Cached(item["key"], layer, created), tuple(names), text[:_TEXT_MAX], outline, in_result=False)


def check_targets(targets: Sequence[CacheTarget]) -> None:
    """Raises InvalidArgument for targets that exclude each other."""
    places = [target.ref or target.path or "the image" for target in targets]
    for place in places:
        if places.count(place) > 1:
            raise InvalidArgument(f'invalid argument for "--cache-to": {place} is named twice')
