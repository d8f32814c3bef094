"""`images --tree`: images over the layers that they share.

Each line is a run of layers that the same images have. It bears the names of the images that end with it, or says how
many stand on it; what stands on it is below. ADDS is what the run's own layers take on disk, SIZE the image whole.
"""

from tiffin.cli import output
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.images.listing import Stack
    from tiffin.images.records import Summary

_HEADINGS = ("IMAGE", "IMAGE ID", "PLATFORM", "LAYERS", "ADDS", "SIZE")


class _Run:
    """Layers that follow one another in every image that has the first of them."""

    def __init__(self) -> None:
        self.layers = 0
        self.size = 0
        self.images: list[Summary] = []
        self.above: dict[str, _Run] = {}


def print_tree(images: "Sequence[Summary]", stacks: "Mapping[str, Stack]", *, full: bool) -> None:
    """Print the tree, and what sharing saves."""
    present = [image for image in images if image.id in stacks]
    roots = _grow(present, stacks)
    lines: list[tuple[str, ...]] = []
    for root in _ordered(roots):
        _draw(_joined(root), "", "", stacks, lines, full)
    output.table(_HEADINGS, lines)
    layers = {layer for image in present for layer in stacks[image.id].layers}
    whole, apart = sum(size for _, size in layers), sum(image.size for image in present)
    saved = f"; apart they would take {output.size(apart)}" if apart > whole else ""
    print(f"\n{len(present)} images, {len(layers)} layers, {output.size(whole)}{saved}")


def _grow(images: "Sequence[Summary]", stacks: "Mapping[str, Stack]") -> dict[str, _Run]:
    """One node for each layer over the same layers. Images without any are roots of their own."""
    roots: dict[str, _Run] = {}
    for image in images:
        level, at = roots, None
        for diff_id, size in stacks[image.id].layers:
            at = level.get(diff_id)
            if at is None:
                at = level[diff_id] = _Run()
                at.layers, at.size = 1, size
            level = at.above
        if at is None:
            at = roots[image.id] = _Run()
        at.images.append(image)
    return roots


def _joined(node: _Run) -> _Run:
    """The node together with those above it, up to where an image ends or ways part."""
    while not node.images and len(node.above) == 1:
        (above,) = node.above.values()
        above.layers += node.layers
        above.size += node.size
        node = above
    return node


def _ordered(level: dict[str, _Run]) -> list[_Run]:
    """The first image's name decides."""

    def name(node: _Run) -> str:
        while not node.images:
            node = _ordered(node.above)[0]
        return min(_label(image) for image in node.images)

    return sorted(level.values(), key=name) if len(level) > 1 else list(level.values())


def _label(image: "Summary") -> str:
    names = [parse_reference(name).familiar() for name in image.names or image.digests]
    if not names and image.within:
        return f"{parse_reference(image.within[0]).familiar()} (another platform)"
    return ", ".join(names) or "<none>"


def _draw(
    node: _Run,
    first: str,
    rest: str,
    stacks: "Mapping[str, Stack]",
    lines: "list[tuple[str, ...]]",
    full: bool,
) -> None:
    """Lines of the node, drawn behind `first`, and of what is above it, behind `rest`. Layers nest at most 125 deep."""
    cells = (str(node.layers), output.size(node.size))
    if not node.images:
        lines.append((f"{first}({_count(node)} images share)", "", "", *cells, ""))
    for at, image in enumerate(node.images):
        identifier = image.id if full else image.id.removeprefix("sha256:")[:12]
        added = cells if at == 0 else ("0", "0B")
        label = (first if at == 0 else rest) + _label(image)
        lines.append((label, identifier, stacks[image.id].platform, *added, output.size(image.size)))
    above = _ordered(node.above)
    for child in above:
        last = child is above[-1]
        _draw(
            _joined(child),
            rest + ("└─ " if last else "├─ "),
            rest + ("   " if last else "│  "),
            stacks,
            lines,
            full,
        )


def _count(node: _Run) -> int:
    return len(node.images) + sum(map(_count, node.above.values()))
