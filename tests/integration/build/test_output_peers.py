"""What --output writes and pushes, read by Docker, podman, skopeo and umoci; and the same outputs of BuildKit's."""

import json
import os
import stat
import subprocess
import tarfile  # noqa: TID251 - reads what was written, as other programs do
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin
from tests.images import busybox_tar
from tests.integration.build.compared.contexts import file, tar
from tests.integration.images.test_push import same_registry_for, until_up
from tests.integration.peers import Docker, docker, need, run
from tests.registries import RunningRegistry, docker_registry

pytestmark = [pytest.mark.root, pytest.mark.peer]
__all__ = ["docker"]

OLD = "touch -h -d '2001-01-01 00:00:00'"
MADE = f"""\
RUN mkdir -p /d/sub && echo own >/d/own && ln /d/own /d/twin && chown 7:8 /d/own && chmod 4755 /d/own && {OLD} /d/own
RUN ln -s own /d/link && chmod 1777 /d/sub && echo tool >/d/sub/tool && chmod 750 /d/sub/tool && {OLD} /d/sub/tool
ADD capable.tar /d/
RUN {OLD} /d/link /d/sub /d
"""
DOCKERFILE = f'FROM busybox\n{MADE}COPY tree /tree\nCMD ["cat", "/tree/a"]\nLABEL a=b\n'
FILES = f"FROM busybox AS made\n{MADE}FROM scratch\nCOPY --from=made /d /d\nCOPY tree /tree\n"
OLD_TIME = 978_307_200
BUILD = ("build", "--network", "none")
Podman = Callable[..., str]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "tree").mkdir(parents=True)
    (made / "tree/a").write_text("a\n")
    os.utime(made / "tree/a", (1_000_000_000, 1_000_000_000))
    (made / "capable.tar").write_bytes(
        tar({"tool": file("tool", 0o755, 0, 0, OLD_TIME)._replace(capability=True)}).data
    )
    (made / "Dockerfile").write_text(DOCKERFILE)
    (made / "files").write_text(FILES)
    return made


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """Podman on storage of the test's own."""
    with tempfile.TemporaryDirectory(prefix="tiffin-podman-") as runroot:  # it takes no long path
        where = ["--root", f"{tmp_path}/podman", "--runroot", runroot, "--storage-driver", "vfs"]
        yield lambda *words: run(need("podman"), *where, *map(str, words))
        run(need("podman"), *where, "rmi", "-af")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def looks(path: Path) -> tuple[Any, ...]:
    """What is to be seen of a file but its time, which umoci has to the nanosecond."""
    status = path.lstat()
    mode = 0 if path.is_symlink() else stat.S_IMODE(status.st_mode)
    names = os.listxattr(path, follow_symlinks=False)
    return (
        status.st_uid,
        status.st_gid,
        oct(mode),
        int(status.st_mtime),
        status.st_nlink,
        "security.capability" in names,
    )


def check_files(root: Path) -> None:
    """That `root` has what the Dockerfile says."""
    old = OLD_TIME
    assert looks(root / "d/own") == looks(root / "d/twin") == (7, 8, "0o4755", old, 2, False)
    assert (root / "d/own").stat().st_ino == (root / "d/twin").stat().st_ino
    assert looks(root / "d/tool") == (0, 0, "0o755", old, 1, True)
    assert looks(root / "d/sub/tool") == (0, 0, "0o750", old, 1, False)
    assert looks(root / "d/sub")[:3] == (0, 0, "0o1777")
    assert os.readlink(root / "d/link") == "own"
    assert (root / "tree/a").read_text() == "a\n" and looks(root / "tree/a")[3] == 1_000_000_000


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_an_oci_archive_is_read_by_skopeo_umoci_and_podman(
    shared: Tiffin, context: Path, tmp_path: Path, podman: Podman, compression: str
) -> None:
    archive, metadata = tmp_path / "a.tar", tmp_path / "metadata.json"
    shared.ok(
        *BUILD, "-t", "peer:1", "--metadata-file", metadata,
        "-o", f"type=oci,dest={archive},compression={compression},force-compression=true", context,
    )  # fmt: skip
    told = json.loads(metadata.read_text())
    seen = json.loads(run(need("skopeo"), "inspect", f"oci-archive:{archive}"))
    assert seen["Digest"] == told["containerimage.digest"] and seen["Labels"] == {"a": "b"}
    run(need("skopeo"), "copy", "-q", f"oci-archive:{archive}", f"oci:{tmp_path}/layout:1")
    bundle = tmp_path / "bundle"
    unpack = [need("umoci"), "unpack", "--image", f"{tmp_path}/layout:1", str(bundle)]
    if compression == "zstd":  # which umoci of 2021 does not know: it says so
        done = subprocess.run(unpack, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and "not correct mediatype" in done.stderr
    else:
        run(*unpack)
        check_files(bundle / "rootfs")
    assert "docker.io/library/peer:1" in podman("load", "-i", archive)
    assert podman("images", "-q", "--no-trunc").strip() == told["containerimage.config.digest"]
    root = Path(podman("image", "mount", "peer:1").strip())
    check_files(root)
    podman("image", "umount", "peer:1")


def test_a_docker_archive_is_loaded_by_docker_and_podman(
    shared: Tiffin, context: Path, tmp_path: Path, podman: Podman, docker: Docker
) -> None:
    archive = tmp_path / "a.tar"
    shared.ok(
        *BUILD, "-t", "peer:2", "--iidfile", tmp_path / "iid", "-o", f"type=docker,dest={archive}", context
    )
    image = (tmp_path / "iid").read_text()
    assert "Loaded image: peer:2" in docker("load", "-i", str(archive))
    found = json.loads(docker("image", "inspect", "peer:2"))[0]
    assert found["Id"] == image and found["Config"]["Cmd"] == ["cat", "/tree/a"]
    assert "docker.io/library/peer:2" in podman("load", "-i", archive)
    assert podman("images", "-q", "--no-trunc").strip() == image
    check_files(Path(podman("image", "mount", "peer:2").strip()))
    podman("image", "umount", "peer:2")
    docker("save", "-o", str(tmp_path / "again.tar"), "peer:2")
    assert shared.ok("load", "-i", tmp_path / "again.tar").endswith("peer:2")
    assert json.loads(shared.ok("image", "inspect", "peer:2"))[0]["Id"] == image
    docker("rmi", "peer:2")
    shared.ok("rmi", "peer:2")


@pytest.mark.registry
def test_what_is_pushed_is_pulled_by_docker_podman_and_skopeo(
    shared: Tiffin, context: Path, tmp_path: Path, podman: Podman, docker: Docker, registry: RunningRegistry
) -> None:
    name, packed = f"{registry.host}/peer/app:1", f"{registry.host}/peer/packed:1"
    shared.ok(
        *BUILD, "-t", name, "--push", "--metadata-file", tmp_path / "m", "--cache-to", "type=inline", context
    )
    told = json.loads((tmp_path / "m").read_text())
    shared.ok(
        *BUILD, "-o", f"type=registry,name={packed},compression=zstd,force-compression=true",
        "--metadata-file", tmp_path / "z", context,
    )  # fmt: skip
    zstd = json.loads((tmp_path / "z").read_text())
    for reference, digest in ((name, told["containerimage.digest"]), (packed, zstd["containerimage.digest"])):
        seen = json.loads(run(need("skopeo"), "inspect", "--tls-verify=false", f"docker://{reference}"))
        assert seen["Digest"] == digest
        run(
            need("skopeo"),
            "copy",
            "-q",
            "--src-tls-verify=false",
            f"docker://{reference}",
            f"dir:{tmp_path}/{digest}",
        )
        podman("pull", "-q", "--tls-verify=false", reference)
        check_files(Path(podman("image", "mount", reference).strip()))
        podman("image", "umount", reference)
    with same_registry_for(docker, registry):
        assert f"Digest: {told['containerimage.digest']}" in until_up(lambda: docker("pull", name))
        found = json.loads(docker("image", "inspect", name))[0]
        assert found["Id"] == told["containerimage.config.digest"]
        # What tiffin keeps in the config for its own cache means nothing to BuildKit, and is no obstacle.
        (context / "next").write_text(f"FROM {name}\nLABEL next=1\n")
        docker.buildkit(
            "--network=none", "--cache-from", name, "-t", "next", "-f", str(context / "next"), str(context)
        )
        above = json.loads(docker("image", "inspect", "next"))[0]
        assert above["RootFS"]["Layers"] == found["RootFS"]["Layers"]
        assert above["Config"]["Labels"] == {"a": "b", "next": "1"}
    docker("rmi", "-f", "next", name)
    shared.ok("rmi", name)


@pytest.mark.registry
def test_an_index_of_several_platforms_is_pulled_by_all(
    shared: Tiffin, tmp_path: Path, podman: Podman, docker: Docker, registry: RunningRegistry
) -> None:
    name = f"{registry.host}/peer/both:1"
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /f\nLABEL arch=$TARGETARCH\n"
    )
    shared.ok(
        *BUILD, "--platform", "linux/amd64,linux/arm64", "-t", name, "--push",
        "--metadata-file", tmp_path / "m", tmp_path,
    )  # fmt: skip
    digest = json.loads((tmp_path / "m").read_text())["containerimage.digest"]
    raw = json.loads(run(need("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{name}"))
    assert [each["platform"]["architecture"] for each in raw["manifests"]] == ["amd64", "arm64"]
    layout = f"oci:{tmp_path}/layout:both"
    run(need("skopeo"), "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}", layout)
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert index["manifests"][0]["digest"] == digest
    for arch in ("amd64", "arm64"):
        podman("pull", "-q", "--tls-verify=false", "--platform", f"linux/{arch}", name)
        found = json.loads(podman("image", "inspect", name))[0]
        assert (found["Architecture"], found["Labels"]) == (arch, {"arch": arch})
    with same_registry_for(docker, registry):
        for arch in ("arm64", "amd64"):
            said = until_up(lambda arch=arch: docker("pull", "--platform", f"linux/{arch}", name))  # type: ignore[misc]
            assert f"Digest: {digest}" in said
            found = json.loads(docker("image", "inspect", name))[0]
            assert (found["Architecture"], found["Config"]["Labels"]) == (arch, {"arch": arch})
    docker("rmi", "-f", name)
    shared.ok("rmi", name)


def tar_entries(path: Path) -> dict[str, tuple[Any, ...]]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            data = archive.extractfile(member) if member.isfile() or member.islnk() else None
            found[member.name.strip("/")] = (
                b"0" if member.islnk() else member.type, oct(member.mode), member.uid, member.gid,
                int(member.mtime), member.linkname if member.issym() else "", data and data.read(),
            )  # fmt: skip
        return found


def directory_entries(top: Path) -> dict[str, tuple[Any, ...]]:
    """Without setuid, which tiffin leaves out where the owner is another one now, and without the times of directories,
    which BuildKit of 2022 does not keep."""
    found = {}
    for path in top.rglob("*"):
        uid, gid, mode, mtime, *_ = looks(path)
        kept = uid, gid, int(mode, 8) & ~0o4000, 0 if path.is_dir() else mtime
        found[str(path.relative_to(top))] = (
            *kept, path.is_symlink() and os.readlink(path), path.is_file() and path.read_bytes(),
        )  # fmt: skip
    return found


def test_the_files_of_a_result_are_those_that_buildkit_writes(
    shared: Tiffin, context: Path, tmp_path: Path, docker: Docker
) -> None:
    docker("import", str(busybox_tar()), "busybox")
    words = ["-f", str(context / "files"), str(context)]
    for kind in ("local", "tar"):
        docker.buildkit("--network=none", "-o", f"type={kind},dest={tmp_path}/{kind}.theirs", *words)
        shared.ok(*BUILD, "-o", f"type={kind},dest={tmp_path}/{kind}.ours", *words)
    docker("rmi", "-f", "busybox")
    ours, theirs = (tar_entries(tmp_path / f"tar.{who}") for who in ("ours", "theirs"))
    assert {**ours, **dict.fromkeys(("d", "tree"))} == {**theirs, **dict.fromkeys(("d", "tree"))}
    mine, other = (directory_entries(tmp_path / f"local.{who}") for who in ("ours", "theirs"))
    assert mine == other and "d/sub/tool" in mine
