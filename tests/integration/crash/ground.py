"""Where commands are killed, and what must hold afterwards: an engine of its own, archives of small images of several
layers, and a registry that another engine serves."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.command import Tiffin
from tests.images import busybox_tar
from tests.integration.images.archives import Oci, tar
from tiffin.engine import Engine

_KEPT_IN_LAYERS = {"empty", "mount-points"}  # the engine's own, see snapshot.overlay


def make_archive(path: Path, name: str, seed: int) -> Path:
    """An OCI archive of one image: busybox, then three layers of many small files that no other seed has."""
    dice = random.Random(seed)
    layers = [busybox_tar().read_bytes()]
    layers += [tar({f"{number}/{n}": dice.randbytes(3000) for n in range(40)}) for number in range(3)]
    oci = Oci()
    oci.image(name, layers, author=str(seed))
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
            self.tiffin.ok("run", "--rm", "--network", "none", name, "true")
        self.engine.images.prune()
        assert self.engine.system.fsck() == []
        assert self.orphans() == []

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
        }
        rows = column("SELECT diff_id FROM layers") - expected["layers"]
        db.close()
        found = {f"layers row {diff_id}" for diff_id in rows}
        for directory, names in expected.items():
            found |= {f"{directory}/{name}" for name in set(os.listdir(self.root / directory)) - names}
        return sorted(found)

    def forget(self) -> None:
        """Remove every image but the base of builds, if there is one."""
        for image in self.engine.images.list():
            if not any(name.endswith("/base:latest") for name in image.names):
                self.engine.images.remove(image.id, force=True)

    def close(self) -> None:
        self.engine.teardown()
        self.engine.close()


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
