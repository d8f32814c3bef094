"""Whether the compressed blobs of layers stay once they are unpacked: `images.keep-compressed` of the settings file."""

from __future__ import annotations

from tiffin.config import load_settings
from tiffin.errors import Conflict
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.images import Images


def drop_unwanted(images: Images, image_ids: Sequence[str]) -> None:
    """Drop the blobs of images that have just been made, where the settings say so. While others read or add blobs,
    none goes: the next command, or `tiffin image compact`, sees to it."""
    if not image_ids or load_settings().images.keep_compressed:
        return
    try:
        images.drop_compressed(image_ids)
    except Conflict:
        pass
