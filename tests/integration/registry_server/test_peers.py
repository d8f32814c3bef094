"""Docker, podman, skopeo and tiffin itself push to the embedded registry and pull from it, unmodified, and all agree on
every digest."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.images import busybox_tar
from tests.integration.peers import Docker, docker, need, run
from tests.registries import docker_registry, htpasswd, make_tls
from tests.registry_server import INDEX, Served, serving

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.peer]
__all__ = ["docker"]

Podman = Callable[..., str]


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """Podman on storage of the test's own."""
    import tempfile

    run_directory = tempfile.mkdtemp(prefix="tiffin-podman-")  # it takes no path of more than 50 characters
    where = ["--root", f"{tmp_path}/podman", "--runroot", run_directory, "--storage-driver", "vfs"]
    environment = {**os.environ, "REGISTRY_AUTH_FILE": str(tmp_path / "podman-auth.json")}
    (tmp_path / "podman-auth.json").write_text("{}")
    yield lambda *words: run(need("podman"), *where, *map(str, words), env=environment)
    run("rm", "-r", run_directory)


def skopeo(*words: str) -> str:
    return run(need("skopeo"), *words)


def digest_by_skopeo(served: Served, name: str) -> str:
    document = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{served.address}/{name}"))
    return str(document["Digest"])


def digest_here(tiffin: Tiffin, name: str) -> str:
    """The one digest under which the image's repository has it."""
    (image,) = json.loads(tiffin.ok("image", "inspect", name))
    repository = name.partition(":")[0]
    (found,) = [d for d in image["RepoDigests"] if d.startswith(f"{repository}@")]
    return str(found.partition("@")[2])


def speaks(tiffin: Tiffin, name: str) -> None:
    """The image runs."""
    assert tiffin.ok("run", "--rm", "--network", "none", name, "echo", "hello") == "hello"


def test_skopeo_pushes_and_pulls_with_one_digest(
    served: Served, tiffin: Tiffin, other: Tiffin, tmp_path: Path
) -> None:
    with serving(other) as peer:
        skopeo(
            "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
            f"docker://{served.address}/busybox", f"docker://{peer.address}/box:1",
        )  # fmt: skip
        theirs = digest_by_skopeo(peer, "box:1")
        assert theirs == digest_by_skopeo(served, "busybox") == digest_here(other, "box:1")
        assert f"box@{theirs}" in json.loads(other.ok("image", "inspect", "box:1"))[0]["RepoDigests"]
        speaks(other, "box:1")
        skopeo(
            "copy", "-q", "--src-tls-verify=false", f"docker://{peer.address}/box:1", f"dir:{tmp_path}/out"
        )
        tags = skopeo("list-tags", "--tls-verify=false", f"docker://{peer.address}/box")
        assert json.loads(tags)["Tags"] == ["1"]
        skopeo("delete", "--tls-verify=false", f"docker://{peer.address}/box:1")
    assert other.ok("images", "-q") == ""


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_podman_pushes_and_pulls_with_one_digest(
    served: Served, tiffin: Tiffin, podman: Podman, tmp_path: Path, form: str
) -> None:
    podman("pull", "-q", "--tls-verify=false", f"{served.address}/busybox")
    ours = json.loads(tiffin.ok("image", "inspect", "busybox"))[0]
    found = json.loads(podman("image", "inspect", f"{served.address}/busybox"))[0]
    assert f"sha256:{found['Id']}" == ours["Id"]
    assert found["Digest"] == ours["Descriptor"]["digest"]
    written = tmp_path / "digest"
    target = f"{served.address}/user/pushed:{form}"
    podman(
        "push", "-q", "--tls-verify=false", "--format", form, "--digestfile", written,
        f"{served.address}/busybox", target,
    )  # fmt: skip
    assert written.read_text() == digest_by_skopeo(served, f"user/pushed:{form}")
    assert written.read_text() == digest_here(tiffin, f"user/pushed:{form}")
    speaks(tiffin, f"user/pushed:{form}")
    podman("rmi", "-af")


@pytest.fixture
def beside_docker(tiffin: Tiffin, docker: Docker) -> Iterator[Served]:
    """The registry in the network namespace of the dockerd, whose loopback is up."""
    inside = ("nsenter", "--net", "-t", str(docker.pid))
    run(*inside, need("ip"), "link", "set", "lo", "up")
    with serving(tiffin, prefix=inside) as server:
        yield server


def test_docker_pushes_and_pulls_with_one_digest(
    beside_docker: Served, tiffin: Tiffin, docker: Docker, tmp_path: Path
) -> None:
    at = beside_docker.address
    (tmp_path / "two").write_text("2")
    (tmp_path / "Dockerfile").write_text(f"FROM {at}/busybox\nCOPY two /\n")
    pulled = docker("pull", f"{at}/busybox")
    assert (
        f"Digest: {json.loads(tiffin.ok('image', 'inspect', 'busybox'))[0]['Descriptor']['digest']}" in pulled
    )
    docker("build", "-q", "-t", f"{at}/built:1", str(tmp_path))
    first = docker("push", f"{at}/built:1")
    assert "Mounted from busybox" in first or "Layer already exists" in first
    said = next(word for word in first.split() if word.startswith("sha256:"))
    assert digest_here(tiffin, "built:1") == said
    assert tiffin.ok("run", "--rm", "--network", "none", "built:1", "cat", "/two") == "2"
    assert (
        json.loads(tiffin.ok("image", "inspect", "built:1"))[0]["Id"]
        == docker("image", "inspect", "-f", "{{.Id}}", f"{at}/built:1").strip()
    )
    docker("rmi", "-f", f"{at}/built:1", f"{at}/busybox")
    assert f"Digest: {said}" in docker("pull", f"{at}/built:1")
    assert "Layer already exists" in docker("push", f"{at}/built:1")
    docker("rmi", "-f", f"{at}/built:1")


def test_what_dockers_registry_has_comes_here_and_goes_back(
    served: Served, tiffin: Tiffin, tmp_path: Path
) -> None:
    copy = ["copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
    with docker_registry(tmp_path) as theirs:
        skopeo(*copy, f"docker://{served.address}/busybox", f"docker://{theirs.host}/box:1")
        skopeo(*copy, f"docker://{theirs.host}/box:1", f"docker://{served.address}/box:2")
        skopeo(*copy, f"docker://{served.address}/box:2", f"docker://{theirs.host}/box:3")
        there = [
            json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{theirs.host}/box:{tag}"))["Digest"]
            for tag in (1, 3)
        ]
    assert {*there} == {digest_by_skopeo(served, "box:2")} == {digest_here(tiffin, "box:2")}
    speaks(tiffin, "box:2")


def test_one_tiffin_pushes_to_another_which_gives_it_to_a_third(
    served: Served, tiffin: Tiffin, other: Tiffin, tmp_path: Path
) -> None:
    name = f"{served.address}/from-other:1"
    other.ok("import", busybox_tar(), name)
    other.ok("push", name)
    there = json.loads(other.ok("image", "inspect", name))[0]
    here = json.loads(tiffin.ok("image", "inspect", "from-other:1"))[0]
    assert (here["Id"], here["Descriptor"]) == (there["Id"], there["Descriptor"])
    speaks(tiffin, "from-other:1")
    with fresh_engine(tmp_path / "third", busybox=False) as third:
        third.ok("pull", name)
        found = json.loads(third.ok("image", "inspect", name))[0]
        assert (found["Id"], found["Descriptor"]) == (there["Id"], there["Descriptor"])
        assert found["RepoDigests"] == [f"{served.address}/from-other@{digest_here(tiffin, 'from-other:1')}"]
        speaks(third, name)


def test_an_index_goes_from_tiffin_to_tiffin_whole(served: Served, tiffin: Tiffin, other: Tiffin) -> None:
    images = f"{served.address}/multi"
    other.ok("import", busybox_tar(), f"{images}:here")
    other.ok("push", f"{images}:here")
    other.ok("manifest", "create", f"{images}:all", f"{images}:here")
    other.ok("manifest", "push", f"{images}:all")
    index = served("GET", "/v2/multi/manifests/all")
    assert index.headers["content-type"] in (
        INDEX,
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
    assert digest_by_skopeo(served, "multi:all") == index.headers["docker-content-digest"]
    speaks(tiffin, "multi:all")
    other.ok("pull", f"{images}:all")
    speaks(other, f"{images}:all")


def test_layers_whose_compressed_copies_were_dropped_are_served_all_the_same(
    served: Served, tiffin: Tiffin, other: Tiffin, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/echo\n")
    (tmp_path / "busybox").write_bytes(Path(need("busybox")).read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    tiffin.ok("build", "-q", "-t", "mine:1", tmp_path)
    manifest = served("GET", "/v2/mine/manifests/1")
    layer = manifest.document["layers"][0]
    tiffin.ok("image", "compact")
    assert not (tiffin.root / "oci/blobs/sha256" / layer["digest"][7:]).exists()
    head = served("HEAD", f"/v2/mine/blobs/{layer['digest']}")
    assert (head.status, int(head.headers["content-length"])) == (200, layer["size"])
    part = served("GET", f"/v2/mine/blobs/{layer['digest']}", Range="bytes=10-")
    assert (part.status, len(part.body)) == (206, layer["size"] - 10)
    other.ok("pull", f"{served.address}/mine:1")
    speaks(other, f"{served.address}/mine:1")
    assert served.push_manifest("again", "1", manifest.body).status == 201
    speaks(tiffin, "again:1")


def test_passwords_and_an_authority_of_ones_own(tiffin: Tiffin, podman: Podman, tmp_path: Path) -> None:
    tls, users = make_tls(tmp_path), htpasswd(tmp_path / "users", {"alice": "secret", "bob": "word"})
    certificates = tmp_path / "certs"
    certificates.mkdir()
    (certificates / "ca.crt").write_text(Path(tls.authority).read_text())
    options: list[str | Path] = ["--htpasswd", users, "--tls-cert", tls.certificate, "--tls-key", tls.key]
    with serving(tiffin, *options, ca=tls.authority) as served:
        assert served.url.startswith("https://")
        trust = f"--cert-dir={certificates}"
        assert "Login Succeeded" in podman("login", trust, "-u", "alice", "-p", "secret", served.address)
        podman("pull", "-q", trust, f"{served.address}/busybox")
        podman("push", "-q", trust, f"{served.address}/busybox", f"{served.address}/mine:1")
        image = f"docker://{served.address}/mine:1"
        assert json.loads(skopeo("inspect", trust, "--creds", "bob:word", image))["Digest"] == digest_here(
            tiffin, "mine:1"
        )
        for creds in ("--no-creds", "--creds=bob:secret"):
            done = subprocess.run(
                [need("skopeo"), "inspect", trust, creds, image], capture_output=True, text=True
            )
            assert done.returncode != 0
            assert "unauthorized" in done.stderr or "authentication required" in done.stderr
        podman("rmi", "-af")
    speaks(tiffin, "mine:1")
