"""Images: names to manifests, manifests to configs and layers, over the store of record and the two stores of
bytes (content, snapshot).

An image is its config: its ID is the config's digest, as Docker has it. Names point at images; an image
without a name is dangling. Nothing is named before every byte that it needs is on disk and verified.

`Images` is the whole interface. Importing it, resolving a name and reading a config cost a short command the
standard library's json and sqlite3; what loads, saves and removes is imported when asked for.
"""

from tiffin.images.records import Image, LayerBlob, Summary
from tiffin.images.service import Images

__all__ = ["Image", "Images", "LayerBlob", "Summary"]
