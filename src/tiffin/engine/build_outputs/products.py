"""The manifests of a build's result, in the form that an output asks for. Nothing is recorded here; layers that have to
be compressed anew are in the store afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from tiffin.build.results.outputs import Output, annotations_for
from tiffin.build.solving.export import Solved
from tiffin.errors import InvalidArgument
from tiffin.images import Images, LayerBlob
from tiffin.images.indexes import IndexDocument
from tiffin.images.write import ManifestStyle, make_index, make_manifest
from tiffin.oci.descriptor import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    LAYER,
    LAYER_GZIP,
    Descriptor,
    encode_json,
)
from tiffin.oci.digest import sha256
from tiffin.typed import NamedTuple

_OCI = {DOCKER_LAYER: LAYER, DOCKER_LAYER_GZIP: LAYER_GZIP}
_DOCKER = {oci: docker for docker, oci in _OCI.items()}


class Member(NamedTuple):
    """The image for one platform: its documents, the descriptor of its manifest, its layers."""

    config: bytes
    manifest: bytes
    descriptor: Descriptor
    layers: tuple[LayerBlob, ...]

    @property
    def config_digest(self) -> str:
        return f"sha256:{sha256(self.config)}"


class Product(NamedTuple):
    """All of it. `above` is the index, None for one platform; `top` is what a name stands for."""

    members: tuple[Member, ...]
    above: IndexDocument | None

    @property
    def top(self) -> Descriptor:
        return self.above.descriptor if self.above is not None else self.members[0].descriptor

    @property
    def image_id(self) -> str:
        """What --iidfile says."""
        return self.above.descriptor.digest if self.above is not None else self.members[0].config_digest


def make_product(images: Images, solved: Sequence[Solved], output: Output) -> Product:
    """Raises InvalidArgument for a layer that the output's media types have no word for."""
    members = tuple(_member(images, one, output, several=len(solved) > 1) for one in solved)
    if len(members) == 1:
        return Product(members, None)
    annotations = annotations_for(output.annotations, "index", None)
    style = ManifestStyle(annotations, output.docker_types)
    return Product(members, make_index([member.descriptor for member in members], style))


def _member(images: Images, solved: Solved, output: Output, *, several: bool) -> Member:
    base = len(solved.layers) - solved.own
    layers = tuple(
        _in_form(images, layer, output, anew=bool(output.compression) and (output.force or at >= base))
        for at, layer in enumerate(solved.layers)
    )
    config = encode_json(solved.document)
    style = ManifestStyle(
        annotations_for(output.annotations, "manifest", solved.platform), output.docker_types
    )
    manifest = make_manifest(f"sha256:{sha256(config)}", len(config), layers, style)
    descriptor = Descriptor(style.media_type, f"sha256:{sha256(manifest)}", len(manifest))
    if several:
        annotations = annotations_for(output.annotations, "manifest-descriptor", solved.platform)
        descriptor = descriptor._replace(platform=solved.platform, annotations=annotations)
    return Member(config, manifest, descriptor, layers)


def _in_form(images: Images, layer: LayerBlob, output: Output, *, anew: bool) -> LayerBlob:
    """The layer as the output has it. One that is compressed so already stays, unless a level is asked for."""
    plain = layer._replace(media_type=_OCI.get(layer.media_type, layer.media_type))
    if anew and (output.level >= 0 or not _is_compressed(plain, output.compression)):
        plain = images.recompress(plain, output.compression, output.level)
    if not output.docker_types:
        return plain
    if plain.media_type not in _DOCKER:
        raise InvalidArgument(
            f"layer {layer.diff_id} is {layer.media_type}, which has no Docker media type: leave out "
            "oci-mediatypes=false, or say compression=gzip,force-compression=true"
        )
    return plain._replace(media_type=_DOCKER[plain.media_type])


def _is_compressed(layer: LayerBlob, kind: str) -> bool:
    return layer.media_type == LAYER if kind == "uncompressed" else layer.media_type.endswith(f"+{kind}")
