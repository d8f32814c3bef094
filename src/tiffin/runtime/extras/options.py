"""Mount options of the OCI runtime specification (config, "Linux mount options") that tiffin's own documents do not
use: attributes for a whole tree, id mappings, copy-up, and `ro` for one mount alone below an `rbind`."""

from __future__ import annotations

from tiffin.runtime.options import ATTRIBUTES, KNOWN, MountOptions, parse_options
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# word: (attributes to set, attributes to clear), on the mount and all below it: each of those for one mount, with an r
RECURSIVE = {f"r{word}": bits for word, bits in ATTRIBUTES.items() if word not in ("rro", "defaults")}
# Of a whole filesystem: a bind keeps its source's, whatever it is told, as mount(2) has it.
SUPERBLOCK = frozenset(
    (
        "async",
        "dirsync",
        "iversion",
        "lazytime",
        "loud",
        "mand",
        "noiversion",
        "nolazytime",
        "nomand",
        "silent",
        "sync",
    )
)
# Words that only say how much the kernel logs.
_QUIET = frozenset(("loud", "silent"))


class TreeOptions(NamedTuple):
    """`one`: of the mount itself. `set`, `clear`: MOUNT_ATTR_* of it and all below. `idmap`: "", "idmap" or "ridmap".
    `copy_up`: fill a tmpfs with what it hides."""

    one: MountOptions
    set: int
    clear: int
    bind: bool
    idmap: str
    copy_up: bool


def parse_tree_options(words: Sequence[str], kind: str) -> TreeOptions:
    """Later words win over earlier ones. `kind` is the mount's type."""
    put = take = 0
    idmap, copy_up, bind = "", False, kind == "bind"
    rest: list[str] = []
    for word in words:
        if word in RECURSIVE:
            more, less = RECURSIVE[word]
            put, take = put & ~less | more, take & ~more | less
        elif word in ("idmap", "ridmap"):
            idmap = word
        elif word == "tmpcopyup":
            copy_up = True
        else:
            bind |= word in ("bind", "rbind")
            rest.append(word)
    dropped = SUPERBLOCK if bind else _QUIET
    one = parse_options([word for word in rest if word not in dropped])
    return TreeOptions(one._replace(recursive_readonly=False), put, take, bind, idmap, copy_up)


def known_words() -> list[str]:
    """Every option that is understood here, for `features`."""
    return sorted({*KNOWN, *RECURSIVE, *SUPERBLOCK, "bind", "rbind", "idmap", "ridmap", "tmpcopyup"})
