"""An engine with a busybox image, and a way to see what it left on the machine."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tiffin import CreateOptions, Engine, Streams

IMAGE = "busybox"


class Ground:
    """The engine under test, with short ways to say what tests say often."""

    def __init__(self, directory: Path) -> None:
        self.root, self.run_directory = str(directory / "root"), str(directory / "run")
        self.engine = Engine(self.root, self.run_directory)
        self.containers = self.engine.containers

    def create(self, *argv: str, **options: object) -> str:
        given: dict[str, object] = {"network": "none", **options}
        return self.containers.create(CreateOptions(IMAGE, argv, **given)).id  # type: ignore[arg-type]

    def start(self, *argv: str, **options: object) -> str:
        container = self.create(*argv, **options)
        self.containers.start(container)
        return container

    def run(self, *argv: str, stdin: bytes | None = None, **options: object) -> tuple[int, bytes, bytes]:
        given: dict[str, object] = {"network": "none", **options}
        done = self.engine.run(IMAGE, argv, stdin=stdin, **given)
        return done.exit_code, done.stdout, done.stderr

    def exec(
        self, container: str, *argv: str, stdin: bytes | None = None, **options: object
    ) -> tuple[int, bytes, bytes]:
        from tiffin import ExecOptions

        out: list[bytes] = []
        err: list[bytes] = []
        asked = ExecOptions(argv, open_stdin=stdin is not None, **options)  # type: ignore[arg-type]
        code = self.containers.exec(container, asked, Streams(stdin, out.append, err.append))
        assert code is not None
        return code, b"".join(out), b"".join(err)

    def state(self, container: str) -> dict[str, object]:
        state: dict[str, object] = self.containers.inspect(container)["State"]
        return state

    def logs(self, container: str) -> bytes:
        from tiffin import LogQuery

        return b"".join(line.data for line in self.containers.logs(container, LogQuery()))

    def remove_all(self) -> None:
        for summary in self.containers.list(show_all=True):
            self.containers.remove(summary.id, force=True, volumes=True)

    def leftovers(self) -> list[str]:
        """Everything on this machine that belongs to the engine and to no running container."""
        left = [
            f"mount {line}"
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if self.root in line
        ]
        for hierarchy in Path("/sys/fs/cgroup").iterdir():
            parent = hierarchy / self.engine.layout.cgroup
            left += [
                f"cgroup {entry}" for entry in (parent.iterdir() if parent.is_dir() else ()) if entry.is_dir()
            ]
        left += [f"file {entry}" for entry in Path(self.root, "containers").iterdir()]
        left += [f"file {entry}" for entry in Path(self.run_directory, "containers").iterdir()]
        left += [f"process {pid}" for pid in self.processes()]
        bridge = Path(f"/sys/class/net/tfn{self.engine.layout.engine}/brif")
        left += [f"veth {entry.name}" for entry in (bridge.iterdir() if bridge.is_dir() else ())]
        return left

    def processes(self) -> list[int]:
        """Supervisors and containers' processes: by an open file or a cgroup of the engine's. The database alone is
        what the launcher's spare has open, which waits for the next start."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if self.engine.layout.cgroup in (entry / "cgroup").read_text() or any(
                    (path := os.readlink(fd)).startswith((self.root, self.run_directory))
                    and not path.startswith(self.engine.layout.database)
                    for fd in (entry / "fd").iterdir()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def assert_clean(self) -> None:
        """Nothing is left, once the kernel has had a moment: an interface ends some time after its namespace."""
        await_that(lambda: not self.leftovers(), lambda: f"left behind: {self.leftovers()}")


def await_that(
    condition: Callable[[], bool], complaint: Callable[[], str] = lambda: "", seconds: float = 30
) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint() or "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    ground = Ground(tmp_path_factory.mktemp("house"))
    with busybox_tar().open("rb") as tar:
        ground.engine.images.import_(tar, IMAGE)
    yield ground
    ground.remove_all()
    ground.engine.teardown()
    ground.engine.close()


@pytest.fixture
def ground(house: Ground) -> Iterator[Ground]:
    """The module's engine; whatever a test leaves is removed, and then nothing at all may be left."""
    yield house
    house.remove_all()
    house.assert_clean()
