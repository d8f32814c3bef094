"""--platform with several: each is built for, and one index is the result."""

import json
import os
import tarfile  # noqa: TID251 - reads what was written, as other programs do
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin
from tests.conformance.test_image_spec import valid
from tests.registries import docker_registry
from tiffin.oci.platform import host_platform

pytestmark = pytest.mark.root

BOTH = "linux/amd64,linux/arm64"
DOCKERFILE = """\
FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETPLATFORM TARGETARCH BUILDPLATFORM
RUN --network=none echo "$BUILDPLATFORM $TARGETPLATFORM" >/made && uname -m >/machine
FROM --platform=$BUILDPLATFORM busybox AS same
RUN --network=none cat /proc/sys/kernel/random/uuid >/uuid
FROM scratch
ARG TARGETARCH
COPY --from=build /made /machine /
COPY --from=same /uuid /
LABEL arch=$TARGETARCH
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    (made / "Dockerfile").write_text(DOCKERFILE)
    return made


def build(tiffin: Tiffin, context: Path, *options: str | Path) -> dict[str, Any]:
    metadata = context.parent / "metadata.json"
    tiffin.ok("build", "--platform", BOTH, "--metadata-file", metadata, *options, str(context))
    return dict(json.loads(metadata.read_text()))


def blob(tiffin: Tiffin, digest: str) -> Any:
    return json.loads((tiffin.root / "oci/blobs/sha256" / digest[7:]).read_text())


def test_each_platform_is_built_for_and_one_index_has_both(
    shared: Tiffin, context: Path, tmp_path: Path
) -> None:
    metadata = build(
        shared, context, "-t", "both", "--iidfile", tmp_path / "iid", "-o", tmp_path / "out", "--load"
    )
    index = blob(shared, metadata["containerimage.digest"])
    assert (tmp_path / "iid").read_text() == metadata["containerimage.digest"]
    assert "containerimage.config.digest" not in metadata
    platforms = [
        f"{entry['platform']['os']}/{entry['platform']['architecture']}" for entry in index["manifests"]
    ]
    assert platforms == BOTH.split(",")
    for entry, platform in zip(index["manifests"], platforms, strict=True):
        config = blob(shared, blob(shared, entry["digest"])["config"]["digest"])
        arch = platform.partition("/")[2]
        assert (config["architecture"], config["config"]["Labels"]) == (arch, {"arch": arch})
        files = tmp_path / "out" / platform.replace("/", "_")
        assert (files / "made").read_text() == f"{host_platform()} {platform}\n"
        assert (files / "machine").read_text() == f"{os.uname().machine}\n"
    uuids = {(tmp_path / "out" / each / "uuid").read_text() for each in os.listdir(tmp_path / "out")}
    assert len(uuids) == 1  # the stage that is the same for both ran once
    image = json.loads(shared.ok("image", "inspect", "both"))[0]
    assert image["Architecture"] == host_platform().architecture
    shared.ok("rmi", "both")


def test_no_cache_runs_what_is_common_once(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    build(shared, context, "--no-cache", "-o", tmp_path / "out")
    uuids = {(tmp_path / "out" / each / "uuid").read_text() for each in os.listdir(tmp_path / "out")}
    assert len(uuids) == 1


def test_steps_say_which_platform_they_are_for(shared: Tiffin, context: Path) -> None:
    done = shared("build", "--platform", BOTH, "-o", "type=cacheonly", str(context))
    lines = [line for line in done.stderr.splitlines() if line.startswith("#") and "[" in line]
    assert any(line.partition(" ")[2].startswith("[linux/arm64 stage-2 2/3]") for line in lines)
    numbers = [line.split()[0] for line in lines]
    assert len(set(numbers)) == len(numbers)


def test_the_index_can_be_a_base_for_each_platform(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    build(shared, context, "-t", "layered")
    (context / "Dockerfile.next").write_text("FROM layered\nCOPY Dockerfile /file\n")
    build(shared, context, "-f", str(context / "Dockerfile.next"), "-o", tmp_path / "out")
    for platform in BOTH.split(","):
        made = (tmp_path / "out" / platform.replace("/", "_") / "made").read_text()
        assert made.split()[1] == platform
    shared.ok("rmi", "layered")


def test_archives_and_annotations_of_several_platforms(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    file, files = tmp_path / "both.tar", tmp_path / "files.tar"
    metadata = build(
        shared, context, "-t", "both:2", "-o", f"type=oci,dest={file}", "-o", f"type=tar,dest={files}",
        "--annotation", "index:a=1", "--annotation", "manifest[linux/arm64]:b=2",
        "--annotation", "manifest-descriptor:c=3",
    )  # fmt: skip
    with tarfile.open(file) as tar:

        def read(digest: str) -> Any:
            data = tar.extractfile(f"blobs/sha256/{digest[7:]}")
            assert data is not None
            return json.loads(data.read())

        index = read(metadata["containerimage.digest"])
        valid(index, "image-index-schema.json")
        assert index["annotations"] == {"a": "1"}
        assert [entry["annotations"] for entry in index["manifests"]] == [{"c": "3"}] * 2
        assert [read(entry["digest"]).get("annotations") for entry in index["manifests"]] == [
            None,
            {"b": "2"},
        ]
    with tarfile.open(files) as tar:
        names = tar.getnames()
    assert {"linux_amd64/made", "linux_arm64/made"} <= set(names)
    assert "both:2" in shared.ok("load", "-i", file)
    assert (
        json.loads(shared.ok("image", "inspect", "both:2"))[0]["Architecture"] == host_platform().architecture
    )
    shared.ok("rmi", "both:2")


@pytest.mark.registry
def test_the_index_is_pushed_whole(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as registry:
        name = f"{registry.host}/both:1"
        metadata = build(shared, context, "-t", name, "--push")
        shared.ok("rmi", name)
        document = json.loads(shared.ok("manifest", "inspect", name))
        assert [entry["platform"]["architecture"] for entry in document["manifests"]] == ["amd64", "arm64"]
        shared.ok("pull", "-q", "--platform", "linux/arm64", name)
        image = json.loads(shared.ok("image", "inspect", name))[0]
        assert image["Architecture"] == "arm64"
        assert f"{registry.host}/both@{metadata['containerimage.digest']}" in image["RepoDigests"]
        shared.ok("rmi", name)


def test_a_command_for_a_processor_that_nothing_executes_is_refused_with_the_reason(
    shared: Tiffin, tmp_path: Path
) -> None:
    foreign = "s390x" if host_platform().architecture != "s390x" else "amd64"
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /x\nRUN ["/x"]\n')
    done = shared("build", "--platform", f"linux/{foreign}", str(tmp_path))
    assert done.returncode == 1
    assert foreign in done.stderr and "binfmt" in done.stderr


def test_a_wrong_platform_is_refused(shared: Tiffin, context: Path) -> None:
    assert "invalid platform" in shared.fails("build", "--platform", "linux/amd64,a/b/c/d", str(context))
