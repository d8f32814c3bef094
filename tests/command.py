"""tiffin's command line as a user types it, on an engine of the test's own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.images import busybox_tar

BUSYBOX = "busybox"


class Tiffin:
    """Run tiffin commands on one root and run directory."""

    def __init__(self, directory: Path) -> None:
        self.root, self.run_directory = directory / "root", directory / "run"

    def argv(self, *words: str | Path) -> list[str]:
        prefix = [sys.executable, "-m", "tiffin", "--root", str(self.root), "--run", str(self.run_directory)]
        return [*prefix, *map(str, words)]

    def __call__(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end; whatever the exit code."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {**pipes, "text": True, "timeout": 120, **options}
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(self.argv(*words), **options)

    def ok(self, *words: str | Path, **options: Any) -> str:
        """Standard output, stripped, of a command that must succeed."""
        done = self(*words, **options)
        assert done.returncode == 0, (
            f"tiffin {' '.join(map(str, words))}: exit {done.returncode}: {done.stderr}"
        )
        return str(done.stdout).strip()

    def fails(self, *words: str | Path, code: int = 1, **options: Any) -> str:
        """The one line of a command that must be refused with `code`."""
        done = self(*words, **options)
        assert done.returncode == code, f"exit {done.returncode}, want {code}: {done.stdout}{done.stderr}"
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, f"want one line, got {lines}"
        return str(lines[0])

    def start(self, *words: str | Path, **options: Any) -> "subprocess.Popen[str]":
        options = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **options,
        }
        return subprocess.Popen(self.argv(*words), **options)


@contextmanager
def fresh_engine(
    directory: Path, *, busybox: bool = True, commands: Callable[[Path], Tiffin] = Tiffin
) -> Iterator[Tiffin]:
    """A new engine, with the image `busybox` if wanted; everything of it is taken down at the end."""
    tiffin = commands(directory)
    if busybox:
        tiffin.ok("import", busybox_tar(), BUSYBOX)
    try:
        yield tiffin
    finally:
        ids = tiffin.ok("ps", "-aq").split()
        if ids:
            tiffin.ok("rm", "-f", *ids)
        from tiffin.engine import Engine

        with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
            engine.teardown()
