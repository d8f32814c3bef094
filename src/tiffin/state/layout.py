"""Where everything of one engine lies on disk, and the engine's identity.

The root (`/var/lib/tiffin`) survives a reboot; the run directory (`/run/tiffin`) need not. Both are 0700.
"""

import os

from tiffin.typed import NamedTuple


class Layout(NamedTuple):
    """The paths of one engine. Pure: makes nothing. `engine` is 8 hex digits that name this root in
    everything outside it (bridges, nft table, cgroups), so that two engines never see each other."""

    root: str
    run: str
    engine: str

    @property
    def database(self) -> str:
        return f"{self.root}/tiffin.db"

    @property
    def oci(self) -> str:
        """A valid OCI image layout (image-spec, image-layout)."""
        return f"{self.root}/oci"

    @property
    def layers(self) -> str:
        return f"{self.root}/layers"

    def layer(self, diff_id: str) -> str:
        """The unpacked tree of a layer; `diff_id` is a checked digest, `sha256:<hex>`."""
        return f"{self.root}/layers/{diff_id.partition(':')[2]}"

    @property
    def staging(self) -> str:
        """Half-made things: one directory or file each, whose maker holds an flock on it. On one filesystem
        with the rest of the root, so that a rename finishes it."""
        return f"{self.root}/staging"

    @property
    def cache(self) -> str:
        return f"{self.root}/cache"

    def container(self, container_id: str) -> str:
        """Holds upper/, work/, rootfs/ (an empty mount point), hosts, resolv.conf, hostname, the log."""
        return f"{self.root}/containers/{container_id}"

    def volume(self, name: str) -> str:
        return f"{self.root}/volumes/{name}/_data"

    def container_run(self, container_id: str) -> str:
        """Holds the supervisor's lock and socket."""
        return f"{self.run}/containers/{container_id}"

    @property
    def cgroup(self) -> str:
        """The parent cgroup of this engine, below each hierarchy's root."""
        return f"tiffin-{self.engine}"


def locate(root: str | None = None, run: str | None = None) -> Layout:
    """The layout for the given directories, else $TIFFIN_ROOT and $TIFFIN_RUN, else root's defaults, else the
    user's XDG directories. A given root without a run directory gets one of its own under /run/tiffin-<engine>."""
    uid = os.geteuid()
    env = os.environ
    chosen = root or env.get("TIFFIN_ROOT")
    if not chosen:
        data = env.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        chosen = "/var/lib/tiffin" if uid == 0 else f"{data}/tiffin"
    chosen = os.path.realpath(chosen)
    engine = _identity(chosen)
    runtime = "/run" if uid == 0 else env.get("XDG_RUNTIME_DIR") or f"/tmp/tiffin-{uid}"  # noqa: S108 - 0700, checked
    default = chosen == "/var/lib/tiffin"
    where = run or env.get("TIFFIN_RUN") or (f"{runtime}/tiffin" if default else f"{runtime}/tiffin-{engine}")
    return Layout(chosen, os.path.realpath(where), engine)


def _identity(root: str) -> str:
    # FNV-1a, 32 bit: hashlib costs a short command 3 ms, and this names, it does not protect.
    value = 0x811C9DC5
    for byte in os.fsencode(root):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:08x}"
