"""Mount options as the OCI runtime specification words them (config, "Mounts") → what the kernel takes."""

from tiffin.kernel.mounts import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_PRIVATE,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)
from tiffin.typed import Iterable, NamedTuple, Protocol


class RootMount(Protocol):
    """What `create` reads of the root's mount: `tiffin.oci.mount.Mount` is one."""

    @property
    def type(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def options(self) -> tuple[str, ...]: ...
    @property
    def lower(self) -> tuple[str, ...]: ...
    @property
    def upper(self) -> str: ...
    @property
    def work(self) -> str: ...


class MountOptions(NamedTuple):
    """`set` and `clear` are MOUNT_ATTR_*; `propagation` MS_*, 0 to leave it private; `data` the filesystem's
    own, None for a flag."""

    set: int
    clear: int
    propagation: int
    recursive_bind: bool
    recursive_readonly: bool
    data: tuple[tuple[str, str | None], ...]


# word: (attributes to set, attributes to clear)
ATTRIBUTES = {
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "noatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "atime": (0, MOUNT_ATTR__ATIME),
    "relatime": (0, MOUNT_ATTR__ATIME),
    "norelatime": (0, MOUNT_ATTR__ATIME),
    "strictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "nostrictatime": (0, MOUNT_ATTR__ATIME),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
    "defaults": (0, 0),
}
_PROPAGATIONS = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE,
    "shared": MS_SHARED,
    "rshared": MS_SHARED,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE,
}
KNOWN = frozenset((*ATTRIBUTES, *_PROPAGATIONS))


def parse_options(words: Iterable[str]) -> MountOptions:
    """Later words win over earlier ones. What is no general option is the filesystem's own."""
    attributes = cleared = propagation = 0
    bind = recursive_readonly = shallow = False
    data: list[tuple[str, str | None]] = []
    for word in words:
        if word in ATTRIBUTES:
            put, take = ATTRIBUTES[word]
            attributes = attributes & ~take | put
            cleared = cleared & ~put | take
            recursive_readonly |= word == "rro"
        elif word in _PROPAGATIONS:
            propagation = _PROPAGATIONS[word]
        elif word == "ro-nonrecursive":  # a word of ours: `ro` is meant for the top alone
            shallow = True
        elif word in ("bind", "rbind"):
            bind |= word == "rbind"
        else:
            key, equals, value = word.partition("=")
            data.append((key, value if equals else None))
    # A read-only directory with a writable one mounted below it surprises: with rbind, ro means all of it.
    recursive_readonly |= bind and not shallow and bool(attributes & MOUNT_ATTR_RDONLY)
    return MountOptions(attributes, cleared, propagation, bind, recursive_readonly, tuple(data))
