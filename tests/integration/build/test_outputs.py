"""--output: what each kind writes, who can read it, and what it does to a directory that is hostile."""

import json
import os
import stat
import subprocess
import tarfile  # noqa: TID251 - reads what was written, as other programs do
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.command import Tiffin
from tests.conformance.test_image_spec import valid
from tests.integration.peers import need, run
from tests.registries import docker_registry
from tiffin.engine import Engine

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS rootfs
RUN --network=none echo own >/own && ln /own /twin && chown 7:8 /twin && chmod 4755 /own && mkfifo /pipe
ADD device.tar /
FROM scratch AS files
COPY --from=rootfs /own /twin /pipe /null /
COPY tree /tree
FROM busybox
COPY tree /tree
CMD ["cat", "/tree/a"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "tree/b").mkdir(parents=True)
    (made / "tree/a").write_text("a\n")
    (made / "tree/b/c").write_text("c\n")
    (made / "tree/link").symlink_to("a")
    (made / "Dockerfile").write_text(DOCKERFILE)
    with tarfile.open(made / "device.tar", "w") as tar:
        device = tarfile.TarInfo("null")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(device)
    return made


def documents(archive: Path) -> dict[str, Any]:
    """The JSON documents of a layout in a tar, by member."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            data = tar.extractfile(member)
            if data is not None and member.size < 100_000:
                try:
                    found[member.name] = json.loads(data.read())
                except ValueError:
                    continue
    return found


def manifest_of(archive: Path) -> dict[str, Any]:
    found = documents(archive)
    top = found["index.json"]["manifests"][0]["digest"]
    return dict(found[f"blobs/sha256/{top[7:]}"])


def test_a_directory_gets_the_files_of_the_result(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    before = shared.ok("images", "-q")
    done = shared("build", "--target", "files", "-o", str(tmp_path / "out"), "-t", "unused", str(context))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(os.listdir(out)) == ["own", "pipe", "tree", "twin"]
    assert (out / "tree/b/c").read_text() == "c\n"
    assert os.readlink(out / "tree/link") == "a"
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in out.rglob("*")}
    assert owners == {(os.getuid(), os.getgid())}  # 7:8 in the image
    assert stat.S_IMODE((out / "own").stat().st_mode) == 0o755  # setuid was for another owner
    assert stat.S_ISFIFO((out / "pipe").stat().st_mode)
    assert "1 devices and sockets are left out" in done.stderr and "/null" in done.stderr
    assert shared.ok("images", "-q") == before


def test_a_directory_keeps_what_it_has_and_is_written_to_without_following_links(
    shared: Tiffin, context: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "a").write_text("canary")
    out = tmp_path / "out"
    (out / "twin/inside").mkdir(parents=True)  # a directory where a file comes
    (out / "mine").write_text("mine")
    (out / "tree").symlink_to(canary)
    (out / "own").symlink_to(canary / "a")
    shared.ok("build", "--target", "files", "-o", f"type=local,dest={out}", str(context))
    assert os.listdir(canary) == ["a"] and (canary / "a").read_text() == "canary"
    assert not (out / "tree").is_symlink() and (out / "tree/a").read_text() == "a\n"
    assert (out / "own").read_text() == "own\n" and (out / "twin").is_file()
    assert (out / "mine").read_text() == "mine"
    assert not [name for name in os.listdir(out) if name.startswith(".")]


def test_a_tar_has_files_as_they_are(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    shared.ok("build", "--target", "files", "-o", f"type=tar,dest={tmp_path}/f.tar", str(context))
    done = subprocess.run(
        shared.argv("build", "--target", "files", "-o", "-", str(context)),
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == (tmp_path / "f.tar").read_bytes()
    with tarfile.open(tmp_path / "f.tar") as tar:
        members = {member.name: member for member in tar}
    assert members["own"].mode == 0o4755 and (members["own"].uid, members["own"].gid) == (7, 8)
    assert members["null"].ischr() and members["pipe"].isfifo()


def test_several_outputs_at_once_and_what_is_told_of_them(
    shared: Tiffin, context: Path, tmp_path: Path
) -> None:
    oci, docker = tmp_path / "oci.tar", tmp_path / "docker.tar"
    shared.ok(
        "build", "-t", "several:1", "-t", "other/several", "--iidfile", tmp_path / "iid",
        "--metadata-file", tmp_path / "meta", "-o", "type=image", "-o", f"type=oci,dest={oci}",
        "-o", f"type=docker,dest={docker}", "-o", tmp_path / "files", str(context),
    )  # fmt: skip
    metadata = json.loads((tmp_path / "meta").read_text())
    image = json.loads(shared.ok("image", "inspect", "several:1"))[0]
    assert (tmp_path / "iid").read_text() == image["Id"] == metadata["containerimage.config.digest"]
    assert metadata["containerimage.digest"] == image["Descriptor"]["digest"]
    assert metadata["containerimage.descriptor"]["digest"] == image["Descriptor"]["digest"]
    assert metadata["image.name"] == "docker.io/library/several:1,docker.io/other/several:latest"
    names = [
        entry["annotations"]["io.containerd.image.name"]
        for entry in documents(oci)["index.json"]["manifests"]
    ]
    assert names == metadata["image.name"].split(",")
    assert "manifest.json" not in documents(oci)
    assert documents(docker)["manifest.json"][0]["Config"] == f"blobs/sha256/{image['Id'][7:]}"
    assert (tmp_path / "files/tree/a").read_text() == "a\n"
    assert shared.ok("load", "-i", oci) == shared.ok("load", "-i", docker)
    assert shared.ok("run", "--rm", "--network", "none", "several:1") == "a"
    shared.ok("rmi", "several:1", "other/several")


def test_nothing_has_a_name_without_an_image_output_unless_it_is_loaded(
    shared: Tiffin, context: Path, tmp_path: Path
) -> None:
    shared.ok("build", "-t", "unloaded", "-o", "type=cacheonly", str(context))
    shared.fails("image", "inspect", "unloaded")
    shared.ok("build", "-t", "unloaded", "-o", f"type=tar,dest={tmp_path}/f", "--load", str(context))
    shared.ok("rmi", "unloaded")


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ("", ["tar+gzip", "tar+gzip"]),
        ("compression=zstd", ["tar+gzip", "tar+zstd"]),
        ("compression=zstd,force-compression=true,compression-level=19", ["tar+zstd", "tar+zstd"]),
        ("compression=uncompressed,force-compression=true", ["tar", "tar"]),
        ("compression=gzip,compression-level=9,force-compression=true", ["tar+gzip", "tar+gzip"]),
        ("oci-mediatypes=false", ["tar.gzip", "tar.gzip"]),
    ],
)
def test_layers_are_compressed_as_asked_for(
    shared: Tiffin, context: Path, tmp_path: Path, options: str, types: list[str]
) -> None:
    """Those of the Dockerfile; with force-compression those of the base too."""
    file = tmp_path / "out.tar"
    shared.ok("build", "-t", "packed", "-o", f"type=oci,dest={file},{options}".rstrip(","), str(context))
    manifest = manifest_of(file)
    assert [layer["mediaType"].partition(".v1.")[2] or layer["mediaType"].rpartition("diff.")[2]
            for layer in manifest["layers"]] == types  # fmt: skip
    assert shared.ok("load", "-i", file).endswith("packed:latest")
    assert shared.ok("run", "--rm", "--network", "none", "packed") == "a"
    shared.ok("rmi", "packed")
    assert shared.ok("system", "fsck") == "nothing is damaged"


def test_the_image_here_can_have_another_compression_and_annotations(shared: Tiffin, context: Path) -> None:
    plain = json.loads(shared.ok("image", "inspect", build(shared, context, "plain")))[0]
    shared.ok(
        "build", "-t", "packed", "--annotation", "first=1", "--annotation", "manifest:second=2",
        "-o", "type=image,compression=zstd,force-compression=true,annotation.third=3", str(context),
    )  # fmt: skip
    packed = json.loads(shared.ok("image", "inspect", "packed"))[0]
    assert packed["Id"] == plain["Id"] and packed["Descriptor"] != plain["Descriptor"]
    blob = shared.root / "oci/blobs/sha256" / packed["Descriptor"]["digest"][7:]
    manifest = json.loads(blob.read_text())
    assert manifest["annotations"] == {"first": "1", "second": "2", "third": "3"}
    assert all(layer["mediaType"].endswith("zstd") for layer in manifest["layers"])
    assert shared.ok("run", "--rm", "--network", "none", "packed") == "a"
    shared.ok("rmi", "packed", "plain")


def build(tiffin: Tiffin, context: Path, name: str, *options: str) -> str:
    tiffin.ok("build", "-t", name, *options, str(context))
    return name


def test_oci_can_be_a_directory_and_is_not_led_out_of_it(
    shared: Tiffin, context: Path, tmp_path: Path
) -> None:
    out = tmp_path / "layout"
    shared.ok("build", "-t", "dir", "-o", f"type=oci,tar=false,dest={out}", str(context))
    assert sorted(os.listdir(out)) == ["blobs", "index.json", "oci-layout"]
    for blob in (out / "blobs/sha256").iterdir():
        assert run("sha256sum", str(blob)).split()[0] == blob.name
    valid(json.loads((out / "index.json").read_text()), "image-index-schema.json")
    (entry,) = json.loads((out / "index.json").read_text())["manifests"]
    manifest = json.loads((out / "blobs/sha256" / entry["digest"][7:]).read_text())
    valid(manifest, "image-manifest-schema.json")
    config = (out / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text()
    valid(json.loads(config), "config-schema.json")
    outside = tmp_path / "outside"
    outside.mkdir()
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "blobs").symlink_to(outside)
    line = shared.fails("build", "-q", "-o", f"type=oci,tar=false,dest={hostile}", str(context))
    assert "not a directory" in line and os.listdir(outside) == []


def test_squash_makes_one_layer_of_all_that_the_dockerfile_makes(shared: Tiffin, tmp_path: Path) -> None:
    text = """\
FROM busybox
RUN --network=none mkdir -p /d/e && echo big >/d/big && echo keep >/d/e/keep && echo base >/tmp/x
RUN --network=none rm /d/big && ln /d/e/keep /d/twin && rm -r /home && mkdir /home && echo new >/home/new && rm /bin/cal
RUN --network=none rm /tmp/x && chmod 700 /d/e && rm -rf /var && ln -s /tmp /var && echo again >/bin/cal
"""
    (tmp_path / "Dockerfile").write_text(text)
    shared.ok(
        "build", "-t", "plain", "-o", "type=image", "-o", f"type=tar,dest={tmp_path}/1.tar", str(tmp_path)
    )
    shared.ok(
        "build",
        "-t",
        "squashed",
        "--squash",
        "--load",
        "-o",
        f"type=tar,dest={tmp_path}/2.tar",
        str(tmp_path),
    )
    plain, squashed = (json.loads(shared.ok("inspect", name))[0] for name in ("plain", "squashed"))
    base = json.loads(shared.ok("inspect", "busybox"))[0]["RootFS"]["Layers"]
    assert len(plain["RootFS"]["Layers"]) == len(base) + 3
    assert squashed["RootFS"]["Layers"][:-1] == base
    assert files(tmp_path / "1.tar") == files(tmp_path / "2.tar")
    shared.ok("save", "-o", f"{tmp_path}/s.tar", "squashed")
    assert b"\nbig\n" not in (tmp_path / "s.tar").read_bytes()
    rows = [json.loads(line) for line in shared.ok("history", "--format", "json", "squashed").splitlines()]
    assert [row["Size"] for row in rows[1:4]] == ["0B"] * 3 and "as one" in rows[0]["Comment"]
    done = shared("build", "--squash", str(tmp_path))
    assert "squash CACHED" in done.stderr
    shared.ok("rmi", "plain", "squashed")


def files(archive: Path) -> dict[str, tuple[Any, ...]]:
    """What is in a tar, but for which of the names of one file is called its link."""
    with tarfile.open(archive) as tar:
        found = {}
        for member in tar:
            data = tar.extractfile(member) if member.isfile() or member.islnk() else None
            kind = tarfile.REGTYPE if member.islnk() else member.type
            link = member.linkname if member.issym() else ""
            found[member.name] = (
                kind,
                member.mode,
                member.uid,
                member.gid,
                member.mtime,
                link,
                data and data.read(),
            )
        return found


@pytest.mark.registry
def test_push_sends_the_image_where_its_name_says(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as registry:
        name = f"{registry.host}/team/app:1"
        shared.ok("build", "-t", name, "--push", "--metadata-file", tmp_path / "m", str(context))
        digest = json.loads((tmp_path / "m").read_text())["containerimage.digest"]
        assert f"{registry.host}/team/app@{digest}" in shared.ok(
            "inspect", "--format", "{{.RepoDigests}}", name
        )
        other = f"{registry.host}/team/other:2"
        shared.ok(
            "build", "-o", f'type=image,"name={other},{registry.host}/team/third",push=true', str(context)
        )
        for reference in (name, other):
            shared.ok("rmi", reference)
            shared.ok("pull", "-q", reference)
            assert shared.ok("run", "--rm", "--network", "none", reference) == "a"
        shared.ok("rmi", "-f", name, other, f"{registry.host}/team/third")


@pytest.mark.peer
def test_other_tools_read_what_was_written(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    skopeo, umoci = need("skopeo"), need("umoci")
    oci, docker, layout = tmp_path / "oci.tar", tmp_path / "docker.tar", tmp_path / "layout"
    shared.ok(
        "build", "-t", "peer:1", "-o", f"type=oci,dest={oci},compression=zstd,force-compression=true",
        "-o", f"type=docker,dest={docker}", "-o", f"type=oci,tar=false,dest={layout}", str(context),
    )  # fmt: skip
    image = json.loads(run(skopeo, "inspect", "--config", f"oci-archive:{oci}"))
    assert image["config"]["Cmd"] == ["cat", "/tree/a"]
    assert json.loads(run(skopeo, "inspect", "--config", f"docker-archive:{docker}")) == image
    copied = tmp_path / "copied"
    run(skopeo, "copy", "-q", f"docker-archive:{docker}", f"oci:{copied}:1")
    run(umoci, "unpack", "--image", f"{copied}:1", str(tmp_path / "bundle"))
    assert (tmp_path / "bundle/rootfs/tree/b/c").read_text() == "c\n"


WRONG = [
    ("-o type=imgae", "did you mean image?"),
    ("-o type=image,compresion=zstd", "did you mean compression?"),
    ("-o type=image,compression=zsdt", "did you mean zstd?"),
    ("-o type=local", "dest is required"),
    ("-o type=image,dest=x", "has no dest"),
    ("-o type=image,compression=gzip,compression-level=10", "0 to 9"),
    ("-o type=image,oci-mediatypes=false,compression=zstd", "Docker's media types"),
    ("-o type=image,push=maybe", "true or false"),
    ("-o type=oci,dest=a -o type=tar,dest=a", "two outputs"),
    ("-o - -o type=oci", "only one output"),
    ("--push", "give one with -t"),
    ("--annotation nothing", "KEY=VALUE"),
    ("--annotation idnex:a=b -o type=tar,dest=x", "needs an image"),
    ("-o type=image,annotation-indx.a=b", "did you mean annotation-index?"),
    ("--platform linux/amd64,linux/arm64 -o type=docker,dest=x", "one platform"),
    ("--cache-to type=locl,dest=x", "did you mean local?"),
    ("--cache-to type=local", "dest is required"),
    ("--cache-from type=local,dest=x", "src is required"),
    ("--cache-to type=inline,mode=max", "unexpected key 'mode'"),
]


@pytest.mark.parametrize(("options", "text"), WRONG, ids=[options for options, _ in WRONG])
def test_a_wrong_option_is_refused_before_anything_is_built(
    shared: Tiffin, context: Path, options: str, text: str
) -> None:
    before = shared.ok("images", "-q")
    line = shared.fails("build", *options.split(), str(context), cwd=context.parent)
    assert text in line
    assert shared.ok("images", "-q") == before


def test_a_program_with_threads_gets_its_outputs_too(shared: Tiffin, context: Path, tmp_path: Path) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        with Engine(str(shared.root), str(shared.run_directory)) as engine:
            result = engine.builder.build(
                str(context),
                outputs=(f"type=local,dest={tmp_path}/out", "type=image"),
                cache_to=(f"type=local,dest={tmp_path}/cache",),
                tags=("threaded",),
                platform="linux/amd64,linux/arm64",
                dockerfile=b"FROM scratch\nCOPY tree /tree\n",
                build_args={"SOURCE_DATE_EPOCH": "1"},
            )
    finally:
        done.set()
        other.join()
    assert result.metadata["containerimage.digest"] == result.image_id
    assert result.names == ("docker.io/library/threaded:latest",)
    assert (tmp_path / "out/linux_arm64/tree/a").read_text() == "a\n"
    assert (tmp_path / "cache/index.json").exists()
    shared.ok("rmi", "threaded")


def test_a_failed_build_leaves_no_output_behind(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "iid").write_text("old")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN --network=none exit 3\n")
    shared(
        "build", "--iidfile", tmp_path / "iid", "-o", f"type=tar,dest={tmp_path}/t", str(tmp_path)
    )  # fmt: skip
    assert os.listdir(tmp_path) == ["Dockerfile"]
