"""Everything that tiffin writes is valid by the schemas of the image specification, whatever command wrote it; and so
is what its registry serves."""

import http.client
import json
import sqlite3
import string
import tarfile  # noqa: TID251 - to read an archive by other code than our own
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.command import BUSYBOX, Tiffin, fresh_engine
from tests.conformance.test_image_spec import valid
from tests.integration.crash.ground import Server, make_archive
from tests.integration.images.archives import docker_archive, tar
from tiffin.images.names import encode_index, named_descriptors
from tiffin.images.records import LayerBlob
from tiffin.images.write import make_manifest
from tiffin.oci.descriptor import INDEX, LAYER_GZIP, MANIFEST
from tiffin.oci.image import History, empty_config, extend_config, format_time
from tiffin.oci.platform import Platform

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


@pytest.fixture
def tiffin(tmp_path: Path) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path / "engine") as engine:
        yield engine


def check_store(tiffin: Tiffin) -> int:
    """Validate every document of the store; how many there are."""
    oci = tiffin.root / "oci"
    valid(json.loads((oci / "oci-layout").read_bytes()), "image-layout-schema.json")
    index = json.loads((oci / "index.json").read_bytes())
    valid(index, "image-index-schema.json")
    db = sqlite3.connect(tiffin.root / "tiffin.db")
    named = {entry["digest"] for entry in index["manifests"]}
    manifests = {digest for (digest,) in db.execute("SELECT manifest FROM images")}
    indexes = {digest for (digest,) in db.execute("SELECT digest FROM indexes")}
    db.close()
    assert named <= manifests | indexes
    for digest in manifests | indexes:
        check_document(json.loads(blob(oci, digest)), lambda config: blob(oci, config))
    return len(manifests | indexes)


def blob(oci: Path, digest: str) -> bytes:
    return (oci / "blobs" / digest.replace(":", "/")).read_bytes()


def check_document(document: dict[str, Any], fetch: Any) -> None:
    """Validate a manifest and its config, or an index."""
    if "manifests" in document:
        valid(document, "image-index-schema.json")
        return
    valid(document, "image-manifest-schema.json")
    valid(json.loads(fetch(document["config"]["digest"])), "config-schema.json")


@pytest.mark.root
def test_what_commands_write(tiffin: Tiffin, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("f")
    (context / "Dockerfile").write_text(
        f'FROM {BUSYBOX}\nCOPY f /\nRUN echo 1 > /g\nENV A="b c"\nLABEL x=\nEXPOSE 80/udp\nVOLUME /v\nUSER 7\n'
        'WORKDIR /w\nSTOPSIGNAL 9\nSHELL ["/bin/sh", "-c"]\nHEALTHCHECK --interval=1s CMD true\nONBUILD RUN true\n'
        'ENTRYPOINT ["cat"]\nCMD ["/g"]\n'
    )
    tiffin.ok("build", "-t", "built", context)
    tiffin.ok("run", "--name", "changed", BUSYBOX, "sh", "-c", "echo 1 > /new")
    tiffin.ok("commit", "-m", "words", "-a", "somebody", "changed", "committed")
    (tmp_path / "d.tar").write_bytes(docker_archive("docker:1", [tar({"a": b"a"})]))
    tiffin.ok("load", "-i", tmp_path / "d.tar")
    tiffin.ok("load", "-i", make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1))
    tiffin.ok("tag", "x:1", "r.example:5000/some/where:else")
    tiffin.ok("import", "-m", "words", tmp_path / "d.tar")  # no name
    assert check_store(tiffin) == 6


@pytest.mark.root
@pytest.mark.parametrize("form", ["", "oci-archive"])
def test_what_save_writes(tiffin: Tiffin, tmp_path: Path, form: str) -> None:
    tiffin.ok("load", "-i", make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1))
    tiffin.ok("save", "-o", tmp_path / "out.tar", *(["--format", form] if form else []), BUSYBOX, "x:1")
    with tarfile.open(tmp_path / "out.tar") as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        valid(json.loads(read("oci-layout")), "image-layout-schema.json")
        index = json.loads(read("index.json"))
        valid(index, "image-index-schema.json")
        assert len(index["manifests"]) == 2
        for entry in index["manifests"]:
            document = json.loads(read(f"blobs/{entry['digest'].replace(':', '/')}"))
            check_document(document, lambda digest: read(f"blobs/{digest.replace(':', '/')}"))


@pytest.mark.root
def test_what_registries_move_and_serve(tiffin: Tiffin, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        name = f"{server.address}/x"
        tiffin.ok("load", "-i", make_archive(tmp_path / "x.tar", f"{name}:1", 1))
        tiffin.ok("push", f"{name}:1")
        tiffin.ok("manifest", "create", f"{name}:list", f"{name}:1")
        tiffin.ok("manifest", "push", f"{name}:list")
        tiffin.ok("rmi", f"{name}:1")
        tiffin.ok("pull", f"{name}:list")
        assert check_store(tiffin) == 1 + 2  # busybox; the image, the list
        check_store(server.tiffin)
        for reference in ("1", "list"):
            media_type, data = get(server, f"/v2/x/manifests/{reference}")
            document = json.loads(data)
            assert document["mediaType"] == media_type
            assert (media_type == INDEX) == (reference == "list")
            check_document(document, lambda digest: get(server, f"/v2/x/blobs/{digest}")[1])
        digest = json.loads(get(server, "/v2/x/manifests/list")[1])["manifests"][0]["digest"]
        valid(json.loads(get(server, f"/v2/x/referrers/{digest}")[1]), "image-index-schema.json")
        assert check_store(server.tiffin) >= 1
    finally:
        server.close()


def get(server: Server, path: str) -> tuple[str, bytes]:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept": ACCEPT})
        answer = connection.getresponse()
        assert answer.status == 200, (path, answer.status)
        return answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


# -- by property ---------------------------------------------------------------------------------------------

quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
sizes = st.integers(0, 1 << 50)
texts = st.text(max_size=40)
words = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
references = st.builds("docker.io/{}/{}:{}".format, words, words, words)
# The schema wants a layer where the text of the specification only recommends one: an image of none is none of its own.
layers = st.lists(st.builds(LayerBlob, digests, digests, st.just(LAYER_GZIP), sizes), min_size=1, max_size=6)
pairs = st.dictionaries(words, texts, max_size=3)
paths: st.SearchStrategy[dict[str, Any]] = st.dictionaries(words.map("/{}".format), st.just({}), max_size=2)
changes = st.fixed_dictionaries(
    {},
    optional={
        "User": texts,
        "Env": st.lists(st.builds("{}={}".format, words, texts), max_size=3),
        "Cmd": st.lists(texts, max_size=3),
        "Entrypoint": st.lists(texts, max_size=3),
        "Labels": pairs,
        "Volumes": paths,
        "WorkingDir": texts,
        "StopSignal": words,
        "ExposedPorts": st.dictionaries(st.integers(1, 65535).map("{}/tcp".format), st.just({}), max_size=2),
    },
)


@quick
@given(
    st.lists(
        st.tuples(digests, st.just(MANIFEST), sizes, st.lists(references, max_size=3).map(tuple)), max_size=5
    )
)
def test_any_index(rows: list[tuple[str, str, int, tuple[str, ...]]]) -> None:
    valid(json.loads(encode_index(named_descriptors(rows))), "image-index-schema.json")


@quick
@given(digests, sizes, layers)
def test_any_manifest(config: str, size: int, blobs: list[LayerBlob]) -> None:
    valid(json.loads(make_manifest(config, size, blobs)), "image-manifest-schema.json")


@quick
@given(
    st.integers(0, 4 * 10**18),
    st.lists(st.tuples(digests | st.just(""), texts, texts, texts, changes), max_size=4),
)
def test_any_config(created: int, steps: list[tuple[str, str, str, str, dict[str, Any]]]) -> None:
    config = empty_config(Platform("linux", "arm", "v7"), format_time(created))
    for diff_id, created_by, author, comment, changed in steps:
        history = History(format_time(created), created_by=created_by, author=author, comment=comment)
        config = extend_config(config, history, diff_id, changed)
    valid(json.loads(json.dumps(config)), "config-schema.json")
