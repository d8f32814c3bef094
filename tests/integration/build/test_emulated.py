"""RUN for another processor, by an emulator that is registered with binfmt_misc: an index whose every image ran its own
commands, and containers of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.docs import run_page
from tests.emulation import Machine, TiffinThere, arm64_tar, machine, qemu

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.registry]

BOTH = "linux/amd64,linux/arm64"
BASE = "ARG TARGETARCH\nFROM base-${TARGETARCH}\n"
DOCKERFILE = """\
FROM base AS build
RUN --network=none uname -m >/machine && mkdir -p /out/sub && cp /machine /out/sub
FROM base
ARG TARGETARCH
COPY --from=build --chown=5:6 /out /out
RUN --network=none --mount=type=tmpfs,target=/t test "$(stat -c %u /out/sub)" = 5 && echo "$TARGETARCH" >/out/arch
CMD ["cat", "/out/sub/machine", "/out/arch"]
"""


@pytest.fixture(scope="module")
def somewhere() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.fixture(scope="module")
def there(somewhere: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """An engine with the image `base` for both."""
    directory = tmp_path_factory.mktemp("engine")
    with fresh_engine(directory, commands=lambda path: TiffinThere(path, somewhere)) as tiffin:
        tiffin.ok("tag", "busybox", "base-amd64")
        tiffin.ok("import", "--platform", "linux/arm64", arm64_tar(), "base-arm64")
        (directory / "base").mkdir()
        (directory / "base/Dockerfile").write_text(BASE)
        tiffin.ok("build", "-q", "--platform", BOTH, "-t", "base", directory / "base")
        yield tiffin


@pytest.fixture
def emulated(there: Tiffin, somewhere: Machine) -> Iterator[Tiffin]:
    if handlers := somewhere.run("grep -l aarch64 /proc/sys/fs/binfmt_misc/*").stdout:
        pytest.skip(f"arm64 is emulated on this machine already: {handlers}")
    somewhere.register(qemu())
    yield there
    somewhere.unregister()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def test_every_image_of_the_index_ran_its_commands_on_its_processor(
    emulated: Tiffin, somewhere: Machine, context: Path
) -> None:
    emulated.ok("build", "-q", "--platform", BOTH, "-t", "both", "--iidfile", context / "iid", context)
    digest = (context / "iid").read_text().partition(":")[2]
    index = json.loads((emulated.root / "oci/blobs/sha256" / digest).read_text())
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    said = emulated.ok("run", "--rm", "--network", "none", "--platform", "linux/amd64", "both")
    assert said == "x86_64\namd64"
    said = emulated.ok("run", "--rm", "--network", "none", "--platform", "linux/arm64", "both")
    assert said == "aarch64\narm64"

    somewhere.unregister()  # what is in the cache needs no emulator
    again = emulated("build", "--platform", BOTH, "-t", "both", context)
    assert again.returncode == 0, again.stderr
    emulated.ok("rmi", "both")


def test_containers_are_emulated_whole(emulated: Tiffin) -> None:
    options = ("--network", "none", "--platform", "linux/arm64")
    name = emulated.ok("run", "-d", "--init", "-u", "1000:7", *options, "base", "sleep", "1000")
    assert emulated.ok("exec", name, "uname", "-m") == "aarch64"
    assert emulated.ok("exec", name, "id", "-u") == "1000"
    # The first process is tiffin's own, for this machine; what it started, qemu.
    seen = emulated.ok("exec", name, "busybox", "ps", "-o", "pid,args").splitlines()
    assert [line.split()[0] for line in seen[1:3]] == ["1", "2"] and "sleep 1000" in seen[2]
    emulated.ok("stop", "-t", "20", name)
    assert emulated.ok("inspect", "-f", "{{.State.ExitCode}}", name) == "143"
    emulated.ok("rm", name)
    done = emulated("run", "--rm", *options, "base", "sh", "-c", "echo lost >&2; exit 7")
    assert (done.returncode, done.stderr) == (7, "lost\n")
    missing = emulated.fails("run", "--rm", *options, "base", "no-such-program", code=127)
    assert "executable file not found" in missing


def test_the_page_on_platforms_runs(emulated: Tiffin, tmp_path: Path) -> None:
    assert run_page("platforms.md", emulated, tmp_path).count("aarch64\n") == 2


def test_without_an_emulator_the_line_is_refused_with_the_remedy(
    there: Tiffin, somewhere: Machine, context: Path
) -> None:
    if somewhere.run("grep -l aarch64 /proc/sys/fs/binfmt_misc/*").stdout:
        pytest.skip("arm64 is emulated on this machine already")
    refused = "cannot run an image for linux/arm64 on this linux/amd64 machine: exec format error; install an emulator"
    done = there("build", "--no-cache", "--platform", "linux/arm64", context)
    assert done.returncode == 1
    assert f"tiffin: Dockerfile:2: RUN: {refused}" in done.stderr
    assert refused in there("run", "--rm", "--platform", "linux/arm64", "base", "true").stderr
    somewhere.register(qemu(), flags="C")  # the kernel would look for it in the container's files
    try:
        done = there("build", "--no-cache", "--platform", "linux/arm64", context)
    finally:
        somewhere.unregister()
    assert done.returncode == 1
    assert "is registered without the flag F and is not in the image" in done.stderr
