"""`tiffin pull`, and what begins one, against Debian's docker-registry."""

import hashlib
import io
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.images import busybox_tar
from tests.integration.images.archives import Oci, tar
from tests.integration.images.remote import incompressible
from tests.integration.registry.middle import Middle, middle
from tests.registries import RunningRegistry, docker_registry

pytestmark = pytest.mark.root

BASE = tar({"base": incompressible(24 << 20)})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def between(registry: RunningRegistry) -> Iterator[Middle]:
    with middle(registry.host) as made:
        yield made


@pytest.fixture
def tiffin(tmp_path: Path) -> Iterator[Tiffin]:
    from tiffin.engine import Engine

    made = Tiffin(tmp_path / "engine")
    yield made
    with Engine(str(made.root), str(made.run_directory)) as engine:
        engine.teardown()


def put(registry: RunningRegistry, name: str, *layers: bytes, archive: Path) -> None:
    """Put an image of these plain layers into the registry, by other people's hands."""
    oci = Oci()
    oci.image("put:1", layers)
    archive.write_bytes(oci.tar())
    command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci-archive:{archive}"]
    subprocess.run([*command, f"docker://{registry.host}/{name}"], check=True, capture_output=True)


def busybox(registry: RunningRegistry, name: str, tmp_path: Path) -> str:
    put(registry, name, busybox_tar().read_bytes(), archive=tmp_path / "put.tar")
    return f"{registry.host}/{name}"


def disk(tiffin: Tiffin) -> int:
    return int(subprocess.check_output(["du", "-s", "-B1", tiffin.root]).split()[0])


def test_pull_says_what_docker_says(registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path) -> None:
    name = busybox(registry, "team/box:latest", tmp_path).removesuffix(":latest")
    lines = tiffin.ok("pull", name).splitlines()
    digest = lines[-3].removeprefix("Digest: ")
    layer = lines[2].partition(":")[0]
    assert lines == [
        "Using default tag: latest",
        "latest: Pulling from team/box",
        f"{layer}: Pulling fs layer",
        f"{layer}: Download complete",
        f"{layer}: Pull complete",
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {name}:latest",
        f"{name}:latest",
    ]
    assert tiffin.ok("pull", f"{name}@{digest}").splitlines() == [
        f"{digest}: Pulling from team/box",
        f"Digest: {digest}",
        f"Status: Image is up to date for {name}@{digest}",
        f"{name}@{digest}",
    ]
    assert tiffin.ok("pull", "-q", name) == f"{name}:latest"
    assert tiffin.ok("image", "inspect", "-f", "{{.RepoDigests}}", name) == f"[{name}@{digest}]"


def test_all_tags_come_at_once(registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path) -> None:
    for tag in ("1", "2"):
        put(registry, f"many:{tag}", tar({"tag": tag.encode()}), archive=tmp_path / "put.tar")
    lines = tiffin.ok("pull", "-a", f"{registry.host}/many").splitlines()
    assert sorted(line for line in lines if "Pulling from" in line) == [
        "1: Pulling from many",
        "2: Pulling from many",
    ]
    assert lines[-2:] == [f"Status: Downloaded newer image for {registry.host}/many", f"{registry.host}/many"]
    assert "can't be used" in tiffin.fails("pull", "-a", f"{registry.host}/many:1")


def test_what_is_not_there_is_one_line(registry: RunningRegistry, tiffin: Tiffin) -> None:
    assert "not found: manifest unknown" in tiffin("pull", f"{registry.host}/absent:1").stderr
    assert tiffin.ok("images", "-q") == ""


def test_run_pulls_what_is_missing_and_says_so_on_standard_error(
    registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path
) -> None:
    name = busybox(registry, "run/box:1", tmp_path)
    words = ["run", "--rm", "--network", "none"]
    assert "No such image" in tiffin.fails(*words, "--pull", "never", name, "echo", "hi", code=125)
    done = tiffin(*words, name, "echo", "hi")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert done.stderr.splitlines()[0] == f"Unable to find image '{name}' locally"
    assert tiffin(*words, name, "true").stderr == ""
    assert "Image is up to date" in tiffin(*words, "--pull", "always", name, "true").stderr


def test_create_of_another_platform_is_refused_with_the_reason(
    registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path
) -> None:
    oci = Oci()
    oci.image("put:1", [tar({"a": b"a"})], architecture="mips64", config={"Cmd": ["/a"]})
    (tmp_path / "put.tar").write_bytes(oci.tar())
    tiffin.ok("load", "-i", tmp_path / "put.tar")
    assert "exec format error" in tiffin.fails("create", "put:1", code=125)


def test_build_pulls_its_base(registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path) -> None:
    name = busybox(registry, "base/box:1", tmp_path)
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN echo built > /x\n")
    words = ["build", "--network", "none", "-t", "built"]
    assert f"{name}: Status: Downloaded newer image" in tiffin(*words, tmp_path).stderr
    assert "Status" not in tiffin(*words, tmp_path).stderr
    assert "Image is up to date" in tiffin(*words, "--pull", tmp_path).stderr
    (tmp_path / "Dockerfile").write_text(f"FROM {registry.host}/absent:1\n")
    missing = tiffin(*words, tmp_path)
    assert missing.returncode == 1
    assert "Dockerfile:1: FROM: manifest for" in missing.stderr.splitlines()[-1]


@pytest.mark.parametrize("megabytes", [25, pytest.param(450, marks=pytest.mark.slow)])
def test_a_shared_base_is_neither_moved_nor_kept_twice(
    registry: RunningRegistry, between: Middle, tiffin: Tiffin, tmp_path: Path, megabytes: int
) -> None:
    files = range(megabytes // 5)
    base = tar({f"lib/{number}": hashlib.shake_128(b"%d" % number).digest(5 << 20) for number in files})
    for number in (1, 2):
        own = tar({"own": incompressible(1 << 20, b"own %d" % number)})
        put(registry, f"shared/app:{number}", base, own, archive=tmp_path / "put.tar")
    tiffin.ok("pull", "-q", f"{between.host}/shared/app:1")
    assert between.answered > megabytes << 20
    moved, kept = between.answered, disk(tiffin)
    lines = tiffin.ok("pull", f"{between.host}/shared/app:2").splitlines()
    assert len([line for line in lines if line.endswith(": Already exists")]) == 1
    assert between.answered - moved < (1 << 20) + 50_000
    assert disk(tiffin) - kept < (2 << 20) + 200_000


def test_a_killed_pull_goes_on_where_it_was(
    registry: RunningRegistry, between: Middle, tiffin: Tiffin, tmp_path: Path
) -> None:
    put(registry, "killed/app:1", BASE, archive=tmp_path / "put.tar")
    between.hold(16 << 20)
    first = tiffin.start("pull", "-q", f"{between.host}/killed/app:1")
    assert between.holding.wait(60)
    wait_for_partial(tiffin, 15 << 20)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert tiffin.ok("images", "-q") == ""
    between.release()
    before = between.answered
    tiffin.ok("pull", "-q", f"{between.host}/killed/app:1")
    assert between.answered - before < 10 << 20
    identifier = tiffin.ok("images", "-q")
    assert tiffin.ok("save", identifier, "-o", tmp_path / "saved.tar") == ""
    tiffin.ok("rmi", identifier)
    assert leftovers(tiffin) == []


def test_what_a_killed_pull_kept_goes_with_prune(
    registry: RunningRegistry, between: Middle, tiffin: Tiffin, tmp_path: Path
) -> None:
    from tiffin.engine import Engine

    put(registry, "pruned/app:1", BASE, archive=tmp_path / "put.tar")
    between.hold(16 << 20)
    first = tiffin.start("pull", "-q", f"{between.host}/pruned/app:1")
    assert between.holding.wait(60)
    wait_for_partial(tiffin, 15 << 20)
    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        assert engine.images.collect(partials=True) == 0  # somebody holds them
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        between.release()
        engine.images.collect(partials=True)
    assert leftovers(tiffin) == []


def test_ctrl_c_ends_a_pull_and_leaves_only_beginnings(
    registry: RunningRegistry, between: Middle, tiffin: Tiffin, tmp_path: Path
) -> None:
    put(registry, "ended/app:1", BASE, archive=tmp_path / "put.tar")
    between.hold(16 << 20)
    first = tiffin.start("pull", "-q", f"{between.host}/ended/app:1")
    assert between.holding.wait(60)
    wait_for_partial(tiffin, 15 << 20)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=10)
    assert first.returncode == 130
    between.release()
    assert all(name.startswith("partial-") for name in leftovers(tiffin))
    assert list((tiffin.root / "layers").iterdir()) == []


def test_two_processes_that_pull_the_same_fetch_it_once(
    registry: RunningRegistry, between: Middle, tiffin: Tiffin, tmp_path: Path
) -> None:
    put(registry, "both/app:1", BASE, archive=tmp_path / "put.tar")
    between.hold(8 << 20)
    first = tiffin.start("pull", f"{between.host}/both/app:1")
    assert between.holding.wait(60)
    read = []
    with tiffin.start("pull", f"{between.host}/both/app:1") as second:
        assert second.stdout is not None
        for line in second.stdout:
            read.append(line.strip())
            if read[-1].endswith(": Waiting"):
                between.release()
    assert first.communicate(timeout=60)[1] == ""
    assert any(line.endswith(": Waiting") for line in read)
    assert read[-1].endswith("both/app:1")
    assert between.answered < 25 << 20
    assert leftovers(tiffin) == []


def wait_for_partial(tiffin: Tiffin, size: int) -> None:
    import time

    deadline = time.monotonic() + 30
    staging = tiffin.root / "staging"
    while not any(p.stat().st_size >= size for p in staging.glob("partial-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def leftovers(tiffin: Tiffin) -> list[str]:
    return sorted(os.listdir(tiffin.root / "staging"))


def test_the_library_pulls_and_reports(registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path) -> None:
    from tiffin.engine import Engine
    from tiffin.images.transfer import TransferEvent

    put(registry, "library/app:1", BASE, archive=tmp_path / "put.tar")
    events: list[TransferEvent] = []
    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        done = engine.images.pull(f"{registry.host}/library/app:1", report=events.append)
        assert engine.images.resolve(f"{registry.host}/library/app:1").id == done.image.id
        engine.images.save([done.image.id], io.BytesIO())
    totals = {event.total for event in events if event.status == "Downloading"}
    assert len(totals) == 1
    assert events[-1].document() == {"status": f"Status: {done.status}"}


def test_debug_shows_the_requests(registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path) -> None:
    put(registry, "traced:1", tar({"a": b"1"}), archive=tmp_path / "put.tar")
    done = tiffin("--debug", "pull", f"{registry.host}/traced:1")
    assert done.returncode == 0 and "/v2/traced/manifests/1" in done.stderr
    assert "/v2/" not in tiffin("pull", f"{registry.host}/traced:1").stderr


def test_a_program_with_threads_builds_on_a_base_that_is_not_here(
    registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path
) -> None:
    from tiffin.build.progress import Event, Fetching
    from tiffin.engine import Engine

    name = busybox(registry, "threads/box:1", tmp_path)
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN echo built > /x\n")
    events: list[Event] = []
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
            engine.build(str(tmp_path), tag="built", network="none", progress=events.append)
            assert "built:latest" in engine.images.inspect("built")["RepoTags"]
    finally:
        stop.set()
        other.join()
    assert any(isinstance(event, Fetching) and event.status.startswith("Status:") for event in events)


def test_another_platform_is_fetched_for_a_run_that_asks_for_it_and_refused_with_the_reason(
    registry: RunningRegistry, tiffin: Tiffin, tmp_path: Path
) -> None:
    own, foreign = (f"{registry.host}/many/{name}:1" for name in ("own", "foreign"))
    tiffin.ok("import", busybox_tar(), own)
    tiffin.ok("import", "--platform", "linux/mips64", busybox_tar(), foreign)
    for name in (own, foreign):
        tiffin.ok("push", "-q", name)
    many = f"{registry.host}/many/both:1"
    tiffin.ok("manifest", "create", many, own, foreign)
    tiffin.ok("manifest", "push", many)
    words = ["run", "--rm", "--network", "none"]
    assert tiffin.ok(*words, many, "echo", "own") == "own"
    refused = tiffin(*words, "--platform", "linux/mips64", many, "true")
    assert refused.returncode == 125
    assert f"Unable to find image '{many}' locally" in refused.stderr
    assert "exec format error" in refused.stderr.splitlines()[-1]
    assert tiffin.ok("image", "inspect", "-f", "{{.Architecture}}", many) == "mips64"
    assert tiffin.ok(*words, "--platform", "linux/amd64", many, "echo", "own again") == "own again"
    assert "wanted linux/s390x" in tiffin(*words, "--pull", "never", "--platform", "linux/s390x", many).stderr
    assert "no matching manifest for linux/s390x" in tiffin(*words, "--platform", "linux/s390x", many).stderr
    tiffin.ok("rmi", many)
