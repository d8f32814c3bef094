"""All cases built by one Docker, by both of its builders, several at a time, and by tiffin meanwhile."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile  # noqa: TID251 - makes an archive as other programs do
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.building import Bench, busybox_tar
from tests.integration.build.compared.built import Archive, Built
from tests.integration.build.compared.case import BUILDKIT, CLASSIC, Case
from tests.integration.build.compared.contexts import lay
from tests.integration.peers import Docker, need, run
from tiffin.errors import TiffinError

CLIENT = "/usr/bin/docker"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OURS = "ours"
_AT_ONCE = 4  # builds of Docker's: they wait more than they work
_PATIENCE = 120
_MTIME = 1_600_000_000


class _Job(NamedTuple):
    """One `docker build`."""

    case: Case
    builder: str
    first: bool = False  # of what the case begins with


class Results:
    """What came of each case, by whom it was built: an image, or the text of an error."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Built | str] = {}

    def failed(self, case: Case, who: str) -> bool:
        return isinstance(self._found.get((case.about, who)), str)

    def put(self, case: Case, who: str, what: Built | str) -> None:
        self._found.setdefault((case.about, who), what)

    def get(self, case: Case, who: str) -> Built:
        found = self._found[case.about, who]
        assert not isinstance(found, str), f"{who}: {found}"
        return found


def slug(case: Case) -> str:
    return re.sub(r"[^a-z0-9]+", "-", case.about.lower()).strip("-")


def base_tar() -> bytes:
    """Busybox, with all that a runtime mounts something on: what of that a builder makes and leaves is not
    compared."""
    out = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name in ("dev", "proc", "sys", "run"):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, _MTIME
            tar.addfile(info)
        for name in ("etc/hosts", "etc/resolv.conf", "etc/hostname"):
            info = tarfile.TarInfo(name)
            info.mtime = _MTIME
            tar.addfile(info)
    return out.getvalue()


class Theirs:
    """Docker's builds. `poll` begins and ends some; what fails goes to `results`."""

    def __init__(self, docker: Docker, cases: Sequence[Case], top: Path, results: Results) -> None:
        self._docker, self._top, self._results = docker, top, results
        self._waiting = [_Job(case, BUILDKIT, first=True) for case in cases if case.before]
        self._later = [_Job(case, builder) for case in cases for builder in case.by]
        self._running: dict[subprocess.Popen[bytes], tuple[_Job, float]] = {}

    def poll(self) -> bool:
        """Whether there is more to come."""
        for process, (job, begun) in list(self._running.items()):
            if process.poll() is None and time.monotonic() - begun < _PATIENCE:
                continue
            process.kill()
            _, said = process.communicate()
            del self._running[process]
            if process.returncode:
                self._results.put(job.case, job.builder, said.decode(errors="replace")[-2000:])
        if not self._waiting and not self._running:  # what others begin with is there
            self._waiting, self._later = self._later, []
        while self._waiting and len(self._running) < _AT_ONCE:
            job = self._waiting.pop(0)
            self._running[self._start(job)] = job, time.monotonic()
        return bool(self._running or self._waiting)

    def _start(self, job: _Job) -> subprocess.Popen[bytes]:
        name = slug(job.case)
        command = [CLIENT, "-H", self._docker.address, "build", "-q", "--network=none"]
        if job.first:
            context = self._top / "empty"
            command += ["-t", f"before-{name}", "-f", str(self._top / f"before-{name}"), str(context)]
        else:
            context = self._top / name
            file = str(context / job.case.dockerfile)
            command += [*job.case.options, "-t", f"{job.builder}-{name}", "-f", file, str(context)]
        environment = os.environ | {
            "DOCKER_BUILDKIT": "1" if job.builder == BUILDKIT else "0",
            "DOCKER_CONFIG": f"{self._top}/config",
        }
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )


def build_all(bench: Bench, docker: Docker, cases: Sequence[Case], top: Path) -> Results:
    """Build everything, by everybody, and read what came of it from two archives."""
    top.mkdir()
    (top / "empty").mkdir()
    (top / "secret").write_text("hunter2")
    _import_base(bench, docker, top / "base.tar")
    cases = [_placed(case, top) for case in cases]
    begun = time.time() - 1
    results = Results()
    theirs = Theirs(docker, cases, top, results)
    for case in cases:
        theirs.poll()
        try:
            _build_ours(bench, case, top)
        except TiffinError as error:
            results.put(case, OURS, f"{error}\n{bench.log}")
    while theirs.poll():
        time.sleep(0.02)
    mine, others = top / "ours.tar", top / "theirs.tar"
    with mine.open("wb") as out:
        done = [f"{OURS}-{slug(case)}" for case in cases if not results.failed(case, OURS)]
        bench.images.save(done, out, "docker-archive")
    pairs = [(case, builder) for case in cases for builder in case.by if not results.failed(case, builder)]
    docker("save", "-o", str(others), *(f"{builder}-{slug(case)}" for case, builder in pairs))
    _read(mine, begun, [(case, OURS) for case in cases if not results.failed(case, OURS)], results)
    _read(others, begun, pairs, results)
    return results


def _import_base(bench: Bench, docker: Docker, base: Path) -> None:
    base.write_bytes(base_tar())
    docker("import", "-c", f"ENV PATH={PATH}", str(base), "base")
    with bench.store.adding(), base.open("rb") as stream:
        bench.images.import_(stream, "base", changed={"Env": [f"PATH={PATH}"]})


def _placed(case: Case, top: Path) -> Case:
    """The case with its context on disk, and names in it that are real."""
    name = slug(case)
    made = case.files[case.dockerfile]
    text = made.data.replace(b"FROM before", f"FROM before-{name}".encode())
    case = case._replace(
        files={**case.files, case.dockerfile: made._replace(data=text)},
        options=tuple(word.replace("SECRET", str(top / "secret")) for word in case.options),
    )
    lay(top / name, case.files)
    (top / f"before-{name}").write_text(case.before)
    return case


def _build_ours(bench: Bench, case: Case, top: Path) -> None:
    name = slug(case)
    if case.before:
        bench.context = top / "empty"
        bench.build(case.before, tags=(f"before-{name}",))
    bench.context = top / name
    file = str(bench.context / case.dockerfile)
    bench.build(dockerfile=file, tags=(f"{OURS}-{name}",), **case.request())


def _read(path: Path, begun: float, wanted: Sequence[tuple[Case, str]], results: Results) -> None:
    archive = Archive(path, begun)
    try:
        for case, who in wanted:
            results.put(case, who, archive.image(f"{who}-{slug(case)}:latest"))
    finally:
        archive.close()


@contextmanager
def docker_for_builds() -> Iterator[Docker]:
    """A dockerd that has both builders, its data in memory where there is room: it syncs a lot."""
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    version = run(need(CLIENT), "--version")
    if not version.startswith("Docker version 20."):
        pytest.skip(f"needs the client that speaks to BuildKit without a plugin, not {version}")
    memory = Path("/dev/shm")
    room = os.statvfs(memory) if memory.is_dir() else None
    inside = str(memory) if room and room.f_bavail * room.f_frsize > 2 << 30 else None
    directory = tempfile.mkdtemp(prefix="tiffin-docker-", dir=inside)
    try:
        docker = Docker(Path(directory), "--experimental")
        try:
            yield docker
        finally:
            docker.close()
    finally:
        run("rm", "-rf", directory)


@contextmanager
def compared(top: Path, cases: Sequence[Case]) -> Iterator[Results]:
    """The results of all cases."""
    bench = Bench(top)
    try:
        with docker_for_builds() as docker:
            results = build_all(bench, docker, cases, top / "work")
        yield results
    finally:
        bench.store.close()


__all__ = ["CLASSIC", "OURS", "Results", "compared", "slug"]
