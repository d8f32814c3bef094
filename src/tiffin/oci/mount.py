"""A mount as a plain value: what one room prepares and another performs."""

from tiffin.typed import NamedTuple


class Mount(NamedTuple):
    """One filesystem to put at `target` (a path inside the container; "" or "/" is its root).

    type     "overlay" | "bind" | "tmpfs" | "proc" | "sysfs" | "devpts" | "mqueue" | "cgroup" | ...
    source   host path for a bind, else a label
    options  mount options as the OCI runtime spec words them ("ro", "nosuid", "rbind", "size=64m", ...)
    lower, upper, work   for an overlay: host directories, lower topmost first; upper "" is read-only
    fd       for a bind: a detached mount to use instead of the source; the descriptor stays its maker's
    """

    target: str
    type: str
    source: str = ""
    options: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    upper: str = ""
    work: str = ""
    fd: int = -1
