"""How much a layer or archive may ask for. Every bound that the layer room enforces stands here."""

from tiffin.typed import NamedTuple


class Limits(NamedTuple):
    """Bounds on one tar stream; passing one raises LimitExceeded (T8).

    The defaults leave room for the largest layers seen in the field (CUDA, model weights, monorepos) and stop
    what no image needs. Lower them for input that is known to be small.
    """

    bytes: int = 128 << 30  # of the decompressed stream, and of the files' apparent sizes together
    entries: int = 3_000_000  # files, directories, links, whiteouts
    depth: int = 512  # components in one name
    name_bytes: int = 4096  # of a name or link target (PATH_MAX)
    component_bytes: int = 255  # NAME_MAX of every filesystem that a layer is unpacked to
    pax_bytes: int = 1 << 20  # one extended header, GNU long name, or sparse map
    sparse_extents: int = 1 << 18  # pieces of one sparse file
    ratio: int = 200  # decompressed bytes per compressed byte, once past `ratio_floor`
    ratio_floor: int = 2 << 30  # below this, zeros may compress as well as they like


DEFAULT_LIMITS = Limits()
