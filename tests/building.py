"""An engine of its own for each test, with a small base image made from the machine's static busybox."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiffin.build import Builder, BuildRequest, BuildResult
from tiffin.build.progress import Event, StepCached, StepLog, StepStarted
from tiffin.content import LocalContent
from tiffin.images import Images
from tiffin.kernel import mounts
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.tarwriter import TarWriter
from tiffin.network.manager import Networks
from tiffin.runtime.cgroups import prune_parent
from tiffin.snapshot import Snapshots
from tiffin.state import Layout, open_store

BUSYBOX = "/usr/bin/busybox"
_APPLETS = (
    "sh ls cat cp mv rm mkdir rmdir ln chmod chown stat id env echo sleep touch test true false wget pwd"
)
_APPLETS += " readlink nslookup ip hostname mount umount grep sed head tail wc find sort kill sync dd mkfifo"
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1234:2345:App:/home/app:/bin/sh\n"
GROUP = b"root:x:0:\nstaff:x:50:\nappgroup:x:2345:app\n"
MTIME = 1_600_000_000 * 10**9


def busybox_tar() -> bytes:
    """A root filesystem as a tar: busybox and links to it, users, /tmp, and a merged-usr `/lib ->
    usr/lib`."""
    out = io.BytesIO()
    writer = TarWriter(out)

    def add(
        name: str, kind: Kind = Kind.DIRECTORY, mode: int = 0o755, data: bytes = b"", link: str = ""
    ) -> None:
        entry = Entry(name, kind, mode=mode, size=len(data), mtime_ns=MTIME, linkname=link)
        writer.add(entry, data if kind is Kind.FILE else None)

    with open(BUSYBOX, "rb") as file:
        program = file.read()
    for directory in ("bin", "etc", "root", "usr", "usr/lib"):
        add(directory)
    add("tmp", mode=0o1777)
    add("bin/busybox", Kind.FILE, 0o755, program)
    for applet in _APPLETS.split():
        add(f"bin/{applet}", Kind.SYMLINK, 0o777, link="busybox")
    add("etc/passwd", Kind.FILE, 0o644, PASSWD)
    add("etc/group", Kind.FILE, 0o644, GROUP)
    add("lib", Kind.SYMLINK, 0o777, link="usr/lib")
    writer.finish()
    return out.getvalue()


class Bench:
    """One engine, a context directory, and short ways to build and to look at the result."""

    def __init__(self, tmp_path: Path) -> None:
        self.layout = Layout(str(tmp_path / "root"), str(tmp_path / "run"), os.urandom(4).hex())
        self.store = open_store(self.layout)
        self.snapshots = Snapshots(self.store)
        self.content = LocalContent(self.layout)
        self.images = Images(self.store, self.content, self.snapshots)
        self.context = tmp_path / "context"
        self.context.mkdir()
        self.events: list[Event] = []

    def base(self) -> None:
        with self.store.adding():
            self.images.import_(io.BytesIO(busybox_tar()), "base")

    def write(self, name: str, text: str | bytes = "", mode: int = 0o644) -> Path:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    def builder(self) -> Builder:
        from tiffin.build.running.run import Runner

        return Builder(self.store, self.images, Runner(self.layout))

    def build(self, text: str | None = None, **options: Any) -> BuildResult:
        self.events = []
        if text is not None:
            options["dockerfile"] = text.encode()
        options.setdefault("network", "none")
        options.setdefault("tags", ("built",))
        request = BuildRequest(str(self.context), progress=self.events.append, **options)
        return self.builder().build(request)

    def document(self, text: str = "built") -> dict[str, Any]:
        return self.images.resolve(text).config

    def settings(self, text: str = "built") -> dict[str, Any]:
        return self.images.resolve(text).settings

    def layer_names(self, at: int = -1, text: str = "built") -> list[str]:
        """The paths in one layer's tree."""
        top = self.layout.layer(self.images.resolve(text).diff_ids[at])
        found = []
        for where, directories, files in os.walk(top):
            found += [os.path.relpath(f"{where}/{name}", top) for name in (*directories, *files)]
        return sorted(found)

    @property
    def executed(self) -> list[str]:
        return [
            event.name for event in self.events if isinstance(event, StepStarted) and "FROM" not in event.name
        ]

    @property
    def cached(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, StepCached)]

    @property
    def log(self) -> str:
        return b"".join(event.data for event in self.events if isinstance(event, StepLog)).decode()

    def tree(self, text: str = "built") -> MountedTree:
        return MountedTree(self, text)


class MountedTree:
    """The files of an image, mounted read-only at a path while the context lasts."""

    def __init__(self, bench: Bench, text: str) -> None:
        self._mount = bench.snapshots.root_mount(bench.images.resolve(text).diff_ids, readonly=True)
        self.path = bench.context.parent / f"mnt-{os.urandom(4).hex()}"

    def __enter__(self) -> Path:
        self.path.mkdir()
        data = "lowerdir=" + ":".join(self._mount.lower)
        if len(self._mount.lower) == 1:
            mounts.mount(self._mount.lower[0], str(self.path), None, mounts.MS_BIND)
        else:
            mounts.mount("overlay", str(self.path), "overlay", mounts.MS_RDONLY, data)
        return self.path

    def __exit__(self, *_: object) -> None:
        mounts.umount(str(self.path))
        self.path.rmdir()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    staged = os.listdir(made.layout.staging)
    prune_parent(made.layout.cgroup)
    networks = Networks(made.store)
    if networks.known():
        networks.teardown()
    made.store.close()
    assert staged == []


@pytest.fixture
def based(bench: Bench) -> Bench:
    bench.base()
    return bench
