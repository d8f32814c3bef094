"""Where commands are killed, and what must hold afterwards: an engine of its own, archives of small images of several
layers, and a registry that another engine serves."""

import fcntl
import io
import os
import random
import re
import signal
import sqlite3
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.command import Tiffin
from tests.integration.images.archives import Oci, tar
from tiffin.engine import Engine
from tiffin.layer.tarstream import Entry, TarWriter

_KEPT_IN_LAYERS = {"empty", "mount-points"}  # the engine's own, see snapshot.overlay


def true_program() -> bytes:
    """A static program of some hundred bytes that exits 0, for x86-64 and arm64: exit(0) and nothing else."""
    machine, code = {
        "x86_64": (62, b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"),  # xor edi, edi; mov eax, 60; syscall
        "aarch64": (183, b"\x00\x00\x80\xd2\xa8\x0b\x80\xd2\x01\x00\x00\xd4"),  # mov x0, 0; mov x8, 93; svc 0
    }[os.uname().machine]
    at, length = 0x400000, 64 + 56 + len(code)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, at + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, at, at, length, length, 0x1000) + code


def base_tar() -> bytes:
    """A root filesystem that has `true`, and some bytes to take time over."""
    out, program, data = io.BytesIO(), true_program(), random.Random(0).randbytes(200_000)
    writer = TarWriter(out)
    writer.add(Entry("bin/true", mode=0o755, size=len(program)), program)
    writer.add(Entry("data", size=len(data)), data)
    writer.finish()
    return out.getvalue()


def make_archive(path: Path, name: str, seed: int, layers: int = 4, files: int = 30) -> Path:
    """An OCI archive of one image: the base, then layers of small files that no other seed has."""
    dice = random.Random(seed)
    tars = [base_tar()]
    tars += [
        tar({f"{number}/{n}": dice.randbytes(2000) for n in range(files)}) for number in range(1, layers)
    ]
    oci = Oci()
    oci.image(name, tars, author=str(seed))
    path.write_bytes(oci.tar())
    return path


class Ground:
    """One engine on which commands are killed."""

    def __init__(self, tiffin: Tiffin) -> None:
        self.tiffin = tiffin
        self.engine = Engine(str(tiffin.root), str(tiffin.run_directory))
        self.root = tiffin.root

    def duration(self, words: Sequence[str | Path]) -> float:
        """Seconds that the command takes undisturbed."""
        began = time.monotonic()
        self.tiffin.ok(*words)
        return time.monotonic() - began

    def load(self, archive: Path) -> None:
        """Load an archive, undisturbed and without a process of its own."""
        with open(archive, "rb") as file:
            self.engine.images.load(file)

    def kill(self, words: Sequence[str | Path], delay: float) -> int:
        """Start the command and kill all its processes so many seconds later; its exit code."""
        process = subprocess.Popen(
            self.tiffin.argv(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(delay)  # not waiting for anything: the moment itself is the input
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return process.wait()

    def names(self) -> set[str]:
        return {name for image in self.engine.images.list() for name in image.names}

    def check(self) -> None:
        """Right after a kill: every named image is whole, and runs. After a prune: no byte is left of the others."""
        damage = [finding for finding in self.engine.system.fsck() if finding.severity == "damage"]
        assert damage == []
        for name in sorted(self.names()):
            self.tiffin.ok("run", "--rm", "--network", "none", name, "/bin/true")
        self.settle()
        self.engine.images.prune()
        assert self.engine.system.fsck() == []
        # The files of the containers just run are removed by processes that nobody waits for.
        deadline = time.monotonic() + 30
        while (left := self.orphans()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == [], left

    def settle(self) -> None:
        """Wait until no living process is at work in the store. A supervisor removes the files of its container after
        it has told the end; a process that is killed has its locks until the kernel has taken it apart. What they
        hold is not left over, and no prune touches it; what they leave is locked by nobody, and stays to be found."""
        deadline = time.monotonic() + 30
        while busy := self.held():
            assert time.monotonic() < deadline, f"still held after 30 s: {busy}"
            time.sleep(0.01)

    def held(self) -> list[str]:
        """What is locked by a living process: the store for adding, and half-made or half-removed things."""
        paths = [self.root / "content.lock", *(self.root / "staging").iterdir()]
        return [str(path) for path in paths if _is_locked(path)]

    def orphans(self) -> list[str]:
        """What is on the disk and in no row, found without any of the engine's code."""
        db = sqlite3.connect(self.root / "tiffin.db")

        def column(query: str) -> set[str]:
            return {str(value).removeprefix("sha256:") for (value,) in db.execute(query)}

        expected = {
            "oci/blobs/sha256": column(
                "SELECT id FROM images UNION SELECT manifest FROM images UNION SELECT blob FROM image_layers"
                " UNION SELECT blob FROM build_cache UNION SELECT digest FROM indexes"
                " UNION SELECT digest FROM registry_manifests UNION SELECT blob FROM registry_blobs"
            ),
            "layers": column("SELECT diff_id FROM image_layers UNION SELECT diff_id FROM build_cache")
            | _KEPT_IN_LAYERS,
            "containers": column("SELECT id FROM containers"),
            "volumes": column("SELECT name FROM volumes"),
            "staging": set(),
            "oci": {"blobs", "index.json", "oci-layout"},
        }
        rows = column("SELECT diff_id FROM layers") - expected["layers"]
        db.close()
        found = {f"layers row {diff_id}" for diff_id in rows}
        for directory, names in expected.items():
            found |= {f"{directory}/{name}" for name in set(os.listdir(self.root / directory)) - names}
        found |= {
            path.name for path in (self.root / "cache").rglob("*") if re.search(r"\.[0-9]+$", path.name)
        }
        return sorted(found)

    def forget(self) -> None:
        """Remove every image but the base of builds, if there is one."""
        for image in self.engine.images.list():
            if not any(name.endswith("/base:latest") for name in image.names):
                self.engine.images.remove(image.id, force=True)

    def close(self) -> None:
        self.engine.teardown()
        self.engine.close()


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Server:
    """A registry that another engine serves from `directory`, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.tiffin = Tiffin(directory)
        port_file = directory / "port"
        directory.mkdir(exist_ok=True)
        self.process = self.tiffin.start(
            "registry", "serve", "--listen", "127.0.0.1:0", "--port-file", port_file
        )
        deadline = time.monotonic() + 30
        while not port_file.exists():
            assert self.process.poll() is None, "the registry ended"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.address = port_file.read_text().strip()

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)
