"""Pushing to Debian's docker-registry: what is sent, what is not, and who can read it afterwards."""

import gzip
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin
from tests.integration.images.archives import INDEX, Oci, descriptor, encode, tar
from tests.integration.images.engine import load
from tests.integration.peers import Docker, docker, need, run
from tests.registries import RunningRegistry, docker_registry, token_server
from tiffin.config import RegistrySettings
from tiffin.errors import Conflict, InvalidArgument, NotFound, TransferError, Unauthorized
from tiffin.images import Images
from tiffin.images.pull import PullOptions
from tiffin.images.transfer import TransferEvent
from tiffin.oci.descriptor import LAYER_GZIP, Descriptor
from tiffin.oci.platform import parse_platform
from tiffin.oci.reference import parse_reference
from tiffin.registry.client import Registry, Repository
from tiffin.registry.credentials import Credentials

__all__ = ["docker"]
pytestmark = [pytest.mark.root, pytest.mark.registry]

BASE = tar({"base": os.urandom(300_000)})
ONE, TWO = tar({"one": b"1" * 5000}), tar({"two": b"2" * 7000})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with docker_registry(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@contextmanager
def client(path: Path, lines: list[str] | None = None) -> Iterator[Registry]:
    credentials = Credentials(str(path / "config.json"))
    trace = None if lines is None else lines.append
    with Registry(RegistrySettings(), credentials, trace=trace) as registry:
        yield registry


def sent(lines: list[str]) -> list[str]:
    """The methods of the requests that move something."""
    words = [word for line in lines for word in line.split()[:3]]
    return [word for word in words if word in ("POST", "PUT", "PATCH")]


def add(images: Images, name: str, *layers: bytes) -> None:
    oci = Oci()
    oci.image(name, list(layers))
    load(images, oci.tar())


def two_platforms(images: Images, name: str, *, whole: bool = True) -> bytes:
    """Load the images of an index, and record it as pull does; the index's bytes."""
    oci = Oci()
    entries = []
    for architecture, layer in (("amd64", ONE), ("arm64", TWO)):
        document = oci.image(f"{name}-{architecture}", [BASE, layer], architecture=architecture)
        assert document
        entry = oci.index[-1]
        entries.append(
            {**entry, "annotations": {}, "platform": {"os": "linux", "architecture": architecture}}
        )
    if not whole:
        missing = descriptor(entries[0]["mediaType"], b"not here")
        entries.append({**missing, "platform": {"os": "linux", "architecture": "riscv64"}})
    load(images, oci.tar())
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    digest = images.content.put_bytes(index)
    with images.store.transaction() as db:
        db.execute("INSERT INTO indexes VALUES (?, ?, ?)", (digest, INDEX, len(index)))
        ids = [images.resolve(f"{name}-{each}").id for each in ("amd64", "arm64")]
        db.executemany("INSERT INTO index_images VALUES (?, ?)", [(digest, image) for image in ids])
        row = (str(parse_reference(name)), ids[0], digest)
        db.execute("INSERT INTO image_names (name, image, target) VALUES (?, ?, ?)", row)
    return index


def test_a_push_sends_all_once_and_a_second_one_moves_nothing(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{plain.host}/once/app:1"
    add(images, name, BASE, ONE)
    first: list[str] = []
    events: list[TransferEvent] = []
    with client(tmp_path, first) as registry:
        pushed = images.push(registry, name, events.append)
        assert registry.repository(f"{plain.host}/once/app").resolve("1").digest == pushed.digest
    image = images.resolve(name)
    assert pushed.digest == image.manifest
    assert len([line for line in sent(first) if line == "PUT"]) == 4  # two layers, config, manifest
    layers = [layer.blob[7:19] for layer in images.layers(image)]
    told = [(event.id, event.status) for event in events if event.current < 0]
    assert told[0] == ("", f"The push refers to repository [{plain.host}/once/app]")
    assert told[-1] == ("", f"1: digest: {pushed.digest} size: {pushed.size}")
    assert {(layer, status) for layer in layers for status in ("Preparing", "Pushed")} == set(told[1:-1])
    assert any(event.current == event.total > 0 for event in events)

    second: list[str] = []
    events.clear()
    with client(tmp_path, second) as registry:
        assert images.push(registry, name, events.append) == pushed
    assert sent(second) == ["PUT"]  # the manifest under its tag
    assert {event.status for event in events if event.id} == {"Preparing", "Layer already exists"}
    assert f"{plain.host}/once/app@{pushed.digest}" in images.inspect(name)["RepoDigests"]


def test_what_a_repository_next_door_has_is_mounted(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    old, new = f"{plain.host}/mount/base:1", f"{plain.host}/mount/app:1"
    add(images, old, BASE)
    add(images, new, BASE, ONE)
    lines: list[str] = []
    events: list[TransferEvent] = []
    with client(tmp_path, lines) as registry:
        images.push(registry, old)
        lines.clear()
        images.push(registry, new, events.append)
    base, one = images.layers(images.resolve(new))
    statuses = {event.id: event.status for event in events}
    assert statuses[base.blob[7:19]] == "Mounted from mount/base"
    assert statuses[one.blob[7:19]] == "Pushed"
    assert any("mount=" in line and "from=mount%2Fbase" in line for line in lines)
    assert sent(lines).count("PUT") == 3  # a layer, the config, the manifest


def test_a_wrong_memory_of_who_has_a_blob_only_costs_a_question(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{plain.host}/wrong/app:1"
    add(images, name, BASE)
    with images.store.transaction() as db:
        for repository in (f"{plain.host}/never/was", "elsewhere.example/x"):
            blob = images.layers(images.resolve(name))[0].blob
            db.execute("INSERT INTO blob_origins VALUES (?, ?)", (blob, repository))
    lines: list[str] = []
    with client(tmp_path, lines) as registry:
        images.push(registry, name)
    assert not any("elsewhere.example" in line for line in lines)


def test_an_index_goes_whole_with_its_children_first(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{plain.host}/index/app:1"
    index = two_platforms(images, name)
    with client(tmp_path) as registry:
        pushed = images.push(registry, name)
        there = registry.repository(f"{plain.host}/index/app")
        assert there.manifest("1").data == index
        for entry in json.loads(index)["manifests"]:
            assert there.resolve(entry["digest"]).size == entry["size"]
        alone = images.push(registry, name, platform=parse_platform("arm64"))
        assert alone.digest == json.loads(index)["manifests"][1]["digest"]
        assert there.resolve("1").digest == alone.digest != pushed.digest
        with pytest.raises(NotFound, match="is not here for linux/s390x: pull it"):
            images.push(registry, name, platform=parse_platform("s390x"))


def test_an_index_of_which_some_are_missing_names_them(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{plain.host}/part/app:1"
    two_platforms(images, name, whole=False)
    with client(tmp_path) as registry:
        with pytest.raises(Conflict, match="linux/riscv64 is missing"):
            images.push(registry, name)
        with pytest.raises(NotFound):
            registry.repository(f"{plain.host}/part/app").resolve("1")


def test_the_one_image_of_an_index_that_is_here_goes_alone(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{plain.host}/alone/app:1"
    index = two_platforms(images, name)
    with images.store.transaction() as db:
        db.execute("DELETE FROM image_names WHERE name LIKE '%-arm64'")
        db.execute("DELETE FROM images WHERE manifest = ?", (json.loads(index)["manifests"][1]["digest"],))
    images.collect()
    events: list[TransferEvent] = []
    with client(tmp_path) as registry:
        pushed = images.push(registry, name, events.append)
    assert pushed.digest == json.loads(index)["manifests"][0]["digest"]
    assert any("only linux/amd64 is here" in event.status for event in events)


def test_what_is_missing_here_is_mounted_from_where_the_index_is(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    name, other = f"{plain.host}/near/app:1", f"{plain.host}/near/copy:1"
    index = two_platforms(images, name)
    with client(tmp_path) as registry:
        pushed = images.push(registry, name)
        images.tag(name, other)
        arm = json.loads(index)["manifests"][1]["digest"]
        with images.store.transaction() as db:
            db.execute("DELETE FROM image_names WHERE name LIKE '%-arm64'")
            db.execute("DELETE FROM images WHERE manifest = ?", (arm,))
        images.collect()
        assert images.push(registry, other) == pushed
        assert registry.repository(f"{plain.host}/near/copy").resolve(arm).digest == arm


def test_a_failure_ends_the_other_uploads_and_names_nothing(
    images: Images, plain: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{plain.host}/broken/app:1"
    layers = [tar({f"f{number}": os.urandom(100_000)}) for number in range(8)]
    add(images, name, *layers)
    bad = images.layers(images.resolve(name))[3].blob
    real = Repository.push_blob
    asked: list[str] = []

    def refuse(self: Repository, blob: Descriptor, *args: object, **options: object) -> str:
        asked.append(blob.digest)
        if blob.digest == bad:
            raise TransferError("the line is cut")
        return real(self, blob, *args, **options)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(Repository, "push_blob", refuse)
    with client(tmp_path) as registry:
        with pytest.raises(TransferError, match="the line is cut"):
            images.push(registry, name, uploads=1)
        with pytest.raises(NotFound):
            registry.repository(f"{plain.host}/broken/app").resolve("1")
    assert bad in asked
    assert len(asked) < 9
    assert not images.store.db.execute("SELECT 1 FROM blob_origins").fetchone()
    assert not [thread for thread in threading.enumerate() if "push" in thread.name]


def test_layers_go_at_the_same_time(
    images: Images, plain: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{plain.host}/parallel/app:1"
    add(images, name, *[tar({f"f{number}": os.urandom(50_000)}) for number in range(3)])
    together = threading.Barrier(4, timeout=30)  # three layers and the config
    real = Repository.push_blob

    def meet(self: Repository, *args: object, **options: object) -> str:
        together.wait()
        return real(self, *args, **options)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(Repository, "push_blob", meet)
    with client(tmp_path) as registry:
        images.push(registry, name, uploads=4)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nope", NotFound, "An image does not exist locally with the tag: nope"),
        ("app:2", NotFound, "tag does not exist: app:2"),
        (f"app@sha256:{'0' * 64}", InvalidArgument, "cannot push a digest reference"),
        ("App", InvalidArgument, "must be lowercase"),
    ],
)
def test_names_that_cannot_be_pushed(
    images: Images, tmp_path: Path, name: str, error: type[Exception], text: str
) -> None:
    add(images, "app:1", ONE)
    with client(tmp_path) as registry, pytest.raises(error, match=text):
        images.push(registry, name)


def test_dropped_layers_are_made_again_or_fetched_and_digests_stay(
    tiffin: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN echo one >/one\n")
    first, second = f"{plain.host}/dropped/app", f"{plain.host}/dropped/copy:2"
    tiffin.ok("build", "-q", "-t", first, tmp_path)
    digest = tiffin.ok("push", first).rpartition("digest: ")[2].split()[0]
    with docker_registry(tmp_path) as other:
        assert "Kept" not in tiffin.ok("image", "compact")  # the imported layer is at the registry now
        third = f"{other.host}/elsewhere/app"
        for name in (second, third):
            tiffin.ok("tag", first, name)
            assert digest in tiffin.ok("push", name)
        assert json.loads(tiffin.ok("manifest", "inspect", third)) == json.loads(
            tiffin.ok("manifest", "inspect", first)
        )
        tiffin.ok("save", "-o", tmp_path / "x.tar", third)
    run(need("skopeo"), "inspect", f"oci-archive:{tmp_path}/x.tar")


def test_a_dropped_layer_whose_registry_is_gone_says_so(
    tiffin: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    with docker_registry(tmp_path) as gone:
        name = f"{gone.host}/gone/app"
        tiffin.ok("tag", BUSYBOX, name)
        tiffin.ok("push", "-q", name)
        tiffin.ok("image", "compact")
    other = f"{plain.host}/gone/app"
    tiffin.ok("tag", BUSYBOX, other)
    text = tiffin.fails("push", other)
    assert "was dropped, and can neither be made again nor fetched" in text
    assert gone.host in text


def test_a_login_is_used_and_its_lack_explained(tiffin: Tiffin, tmp_path: Path) -> None:
    with docker_registry(tmp_path, users={"alice": "secret"}) as registry:
        name = f"{registry.host}/private/app"
        tiffin.ok("tag", BUSYBOX, name)
        config = tmp_path / "docker"
        environment = os.environ | {"DOCKER_CONFIG": str(config)}
        refused = tiffin.fails("push", name, env=environment)
        assert "login" in refused
        assert "secret" not in refused
        run(need("skopeo"), "login", "--authfile", str(config / "config.json"), "--tls-verify=false",
            "-u", "alice", "-p", "secret", registry.host)  # fmt: skip
        assert tiffin.ok("push", "-q", name, env=environment) == f"{name}:latest"


def test_an_interrupt_does_not_wait_for_a_registry_that_stalls(tiffin: Tiffin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"127.0.0.1:{silent.getsockname()[1]}/x"
        tiffin.ok("tag", BUSYBOX, name)
        with tiffin.start("push", name) as process:
            assert process.stdout is not None
            assert any("Preparing" in line for line in process.stdout)
            silent.accept()[0].close()  # somebody asks now
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.wait(10) == 130


def test_all_tags_go_with_one_command(tiffin: Tiffin, plain: RunningRegistry) -> None:
    name = f"{plain.host}/tags/app"
    for tag in ("1", "2", "latest"):
        tiffin.ok("tag", BUSYBOX, f"{name}:{tag}")
    told = tiffin.ok("push", "-a", name)
    assert [line.split(":")[0] for line in told.splitlines() if "digest" in line] == ["1", "2", "latest"]
    assert "tag can't be used with --all-tags" in tiffin.fails("push", "-a", f"{name}:1", code=1)
    tags = json.loads(run(need("skopeo"), "list-tags", "--tls-verify=false", f"docker://{name}"))
    assert sorted(tags["Tags"]) == ["1", "2", "latest"]


@contextmanager
def same_registry_for(docker: Docker, registry: RunningRegistry) -> Iterator[None]:
    """The registry a second time, over the same storage, on the loopback that the daemon has for itself."""
    (daemon,) = Path(f"/proc/{docker.pid}/task/{docker.pid}/children").read_text().split()
    enter = [need("nsenter"), f"--net=/proc/{daemon}/ns/net"]
    run(*enter, need("ip"), "link", "set", "lo", "up")
    with open(registry.log, "ab") as log:
        command = [*enter, need("docker-registry"), "serve", str(registry.log.parent / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.peer
def test_other_engines_pull_what_was_pushed(
    tiffin: Tiffin, plain: RunningRegistry, docker: Docker, tmp_path: Path
) -> None:
    name = f"{plain.host}/peers/app:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN echo one >/one\nENV A=b\n")
    image = tiffin.ok("build", "-q", "-t", name, tmp_path)
    digest = tiffin.ok("push", name).rpartition("digest: ")[2].split()[0]
    seen = json.loads(run(need("skopeo"), "inspect", "--tls-verify=false", f"docker://{name}"))
    assert seen["Digest"] == digest
    with tempfile.TemporaryDirectory() as runroot:  # podman takes no longer path
        store = ["--root", f"{tmp_path}/p/root", "--runroot", runroot, "--storage-driver", "vfs"]
        pulled = run(need("podman"), *store, "pull", "-q", "--tls-verify=false", name).strip()
    assert f"sha256:{pulled}" == image
    with same_registry_for(docker, plain):
        assert f"Digest: {digest}" in until_up(lambda: docker("pull", name))
        listed = json.loads(docker("manifest", "inspect", "--insecure", "-v", name))
    found = json.loads(docker("image", "inspect", name))[0]
    assert found["Id"] == image
    assert [text.rpartition("@")[2] for text in found["RepoDigests"]] == [digest]
    assert listed["Descriptor"]["digest"] == digest


def until_up(call: Callable[[], str]) -> str:
    """What `call` gives once the second registry answers."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return call()
        except AssertionError as error:
            if "refused" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_stored_layer_is_sent_as_it_is_however_it_was_compressed(
    images: Images, plain: RunningRegistry, tmp_path: Path
) -> None:
    oci = Oci()
    name = f"{plain.host}/asis/app:1"
    oci.image(name, [ONE])
    load(images, oci.tar())
    layer = images.layers(images.resolve(name))[0]
    with client(tmp_path) as registry:
        images.push(registry, name)
        there = registry.repository(f"{plain.host}/asis/app")
        with there.open_blob(Descriptor(LAYER_GZIP, layer.blob, layer.blob_size)) as stream:
            assert stream.read() == gzip.compress(ONE, 1, mtime=0)


def test_wrong_passwords_send_nothing(images: Images, tmp_path: Path) -> None:
    with docker_registry(tmp_path, users={"alice": "secret"}) as running:
        name = f"{running.host}/private/app:1"
        add(images, name, ONE)
        lines: list[str] = []
        with client(tmp_path, lines) as registry, pytest.raises(Unauthorized):
            images.push(registry, name)
        assert sent(lines) == []


def copy_as(form: str, source: str, target: str) -> None:
    run(need("skopeo"), "copy", "-f", form, "--src-tls-verify=false", "--dest-tls-verify=false",
        f"docker://{source}", f"docker://{target}")  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("keep", [True, False])
def test_what_was_pulled_goes_on_under_the_same_digest(
    images: Images, plain: RunningRegistry, tmp_path: Path, keep: bool
) -> None:
    """Docker's own format, which tiffin does not write, layers compressed by others, and layers that were not kept."""
    source = f"{plain.host}/through/source{keep:d}"
    add(images, f"{source}:oci", BASE, ONE)
    with docker_registry(tmp_path) as other, client(tmp_path) as registry:
        images.push(registry, f"{source}:oci")
        copy_as("v2s2", f"{source}:oci", f"{source}:docker")
        images.remove(f"{source}:oci")
        pulled = images.pull(
            registry, parse_reference(f"{source}:docker"), options=PullOptions(keep_compressed=keep)
        )
        stored = [images.content.exists(layer.blob) for layer in images.layers(pulled.image)]
        assert stored == [keep, keep]
        beside, far = f"{plain.host}/through/beside{keep:d}:1", f"{other.host}/far/app:1"
        for target, status in ((beside, "Mounted from "), (far, "Pushed")):
            images.tag(f"{source}:docker", target)
            events: list[TransferEvent] = []
            assert images.push(registry, target, events.append).digest == pulled.digest
            ended = [event.status for event in events if event.id and event.current < 0][-2:]
            assert all(each.startswith(status) for each in ended), ended
        images.pull(registry, parse_reference(far), options=PullOptions(keep_compressed=keep))
    assert not list(Path(images.store.layout.staging).iterdir())


def test_mounting_with_tokens_asks_for_leave_in_both_repositories(tiffin: Tiffin, tmp_path: Path) -> None:
    with (
        token_server(tmp_path, users={"alice": "secret"}) as tokens,
        docker_registry(tmp_path, tokens=tokens) as registry,
    ):
        first, second = f"{registry.host}/one/app", f"{registry.host}/two/app"
        for name in (first, second):
            tiffin.ok("tag", BUSYBOX, name)
        environment = os.environ | {"DOCKER_CONFIG": str(tmp_path / "docker")}
        assert "login" in tiffin.fails("push", first, env=environment)
        tiffin.ok("login", "-u", "alice", "--password-stdin", registry.host, input="secret", env=environment)
        assert ": Pushed" in tiffin.ok("push", first, env=environment)
        assert "Mounted from one/app" in tiffin.ok("push", second, env=environment)


def test_many_pushes_at_once_and_a_compaction_meanwhile(
    tiffin: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN head -c 3000000 /dev/urandom >/noise\n")
    names = [f"{plain.host}/crowd/app:{number}" for number in range(4)]
    tiffin.ok("build", "-q", *[word for name in names for word in ("-t", name)], tmp_path)
    pushes = [tiffin.start("push", "-q", name) for name in names]
    outcomes = {tiffin("image", "compact").returncode for _ in range(3)}
    for name, process in zip(names, pushes, strict=True):
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, name), errors
    assert outcomes <= {0, 1}
    digests = {tiffin.ok("push", name).rpartition("digest: ")[2].split()[0] for name in names}
    assert len(digests) == 1
