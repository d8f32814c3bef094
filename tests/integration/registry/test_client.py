"""The client against Debian's docker-registry: what is pushed comes back, byte for byte."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries import RunningRegistry, docker_registry, make_tls, token_server
from tiffin.config import RegistrySettings
from tiffin.errors import NotFound, PermissionDenied, TransferError, Unauthorized
from tiffin.oci.descriptor import CONFIG, LAYER_GZIP, MANIFEST, Descriptor
from tiffin.registry.client import Registry, Repository
from tiffin.registry.credentials import Credential, Credentials

pytestmark = pytest.mark.registry

BLOB = b"a layer, or what passes for one" * 100_000  # 3 MB


def blob(data: bytes, media_type: str = LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type, "sha256:" + hashlib.sha256(data).hexdigest(), len(data))


def opener(data: bytes):
    return lambda offset: io.BytesIO(data[offset:])


def manifest_of(config: bytes, *layers: bytes) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(config, CONFIG).document(),
        "layers": [blob(layer).document() for layer in layers],
    }
    return json.dumps(document).encode()


def push_image(repository: Repository, tag: str, *layers: bytes) -> str:
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    for data in (config, *layers):
        repository.push_blob(blob(data), opener(data))
    return repository.put_manifest(tag, manifest_of(config, *layers), MANIFEST)


def credentials(path: Path, host: str = "", user: str = "", word: str = "") -> Credentials:
    found = Credentials(str(path / "config.json"))
    if user:
        found.store(host, Credential(user, word))
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with docker_registry(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Registry]:
    with Registry(RegistrySettings(), credentials(tmp_path)) as registry:
        yield registry


def test_an_image_that_was_pushed_is_pulled(plain: RunningRegistry, client: Registry) -> None:
    repository = client.repository(f"{plain.host}/team/app")
    steps: list[int] = []
    assert repository.push_blob(blob(BLOB), opener(BLOB), progress=steps.append) == "pushed"
    assert steps == sorted(steps)
    assert steps[-1] == len(BLOB)
    assert repository.push_blob(blob(BLOB), opener(BLOB)) == "exists"
    digest = push_image(repository, "1", BLOB)
    found = repository.resolve("1")
    assert (found.media_type, found.digest) == (MANIFEST, digest)
    assert repository.manifest("1") == repository.manifest(digest)
    assert repository.manifest("1").descriptor == found
    with repository.open_blob(blob(BLOB)) as stream:
        data = b"".join(iter(lambda: stream.read(1 << 20), b""))
    assert data == BLOB
    with repository.open_blob(blob(BLOB), 1000) as stream:
        assert stream.offset == 1000
        assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == BLOB[1000:]


def test_a_blob_is_mounted_from_another_repository(plain: RunningRegistry, client: Registry) -> None:
    push_image(client.repository(f"{plain.host}/mount/from"), "1", BLOB)
    target = client.repository(f"{plain.host}/mount/to")
    candidates = [f"{plain.host}/mount/nothing", f"{plain.host}/mount/from"]
    assert (
        target.push_blob(blob(BLOB), opener(BLOB), mount_from=candidates)
        == f"mounted:{plain.host}/mount/from"
    )
    other = b"elsewhere" * 1000
    assert target.push_blob(blob(other), opener(other), mount_from=candidates) == "pushed"
    assert not list(plain.storage.rglob("_uploads/*/data"))


def test_tags_and_repositories_are_listed(plain: RunningRegistry, client: Registry) -> None:
    repository = client.repository(f"{plain.host}/list/app")
    for tag in ("b", "a", "c"):
        push_image(repository, tag, b"x")
    assert sorted(repository.tags()) == ["a", "b", "c"]
    assert "list/app" in set(client.catalog(plain.host))
    assert [result.name for result in client.search(plain.host, "list/")] == ["list/app"]


def test_what_is_not_there_is_said_in_dockers_words(plain: RunningRegistry, client: Registry) -> None:
    repository = client.repository(f"{plain.host}/words/app")
    push_image(repository, "1", b"x")
    name = f"{plain.host}/words/app"
    with pytest.raises(
        NotFound, match=f"^manifest for {name}:2 not found: manifest unknown: manifest unknown"
    ):
        repository.resolve("2")
    with pytest.raises(NotFound, match="not found"):
        repository.manifest("sha256:" + "0" * 64)
    with pytest.raises(NotFound, match="not found"):
        repository.open_blob(blob(b"unknown"))
    with pytest.raises(NotFound, match=f"repository {plain.host}/words/none not found: name unknown"):
        list(client.repository(f"{plain.host}/words/none").tags())
    assert not repository.has_blob(blob(b"unknown"))


def test_a_manifest_is_deleted(plain: RunningRegistry, client: Registry) -> None:
    repository = client.repository(f"{plain.host}/delete/app")
    digest = push_image(repository, "1", b"x")
    repository.delete_manifest(digest)
    with pytest.raises(NotFound):
        repository.resolve("1")
    with pytest.raises(NotFound):
        repository.delete_manifest(digest)


def test_a_registry_with_passwords_wants_the_right_one(tmp_path: Path) -> None:
    with docker_registry(tmp_path, users={"alice": "open:sesame"}) as registry:
        held = credentials(tmp_path, registry.host, "alice", "open:sesame")
        with Registry(RegistrySettings(), held) as client:
            push_image(client.repository(f"{registry.host}/a/b"), "1", BLOB)
            assert client.repository(f"{registry.host}/a/b").manifest("1").data
            assert client.check_login(registry.host, Credential("alice", "open:sesame")) == "Login Succeeded"
            with pytest.raises(Unauthorized):
                client.check_login(registry.host, Credential("alice", "wrong"))
        with (
            Registry(RegistrySettings(), Credentials(str(tmp_path / "none.json"))) as client,
            pytest.raises(Unauthorized, match=f"run 'tiffin login {registry.host}'"),
        ):
            client.repository(f"{registry.host}/a/b").resolve("1")


def test_tls_with_an_own_authority(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with docker_registry(tmp_path, tls=tls) as registry:
        directory = tmp_path / "certs.d" / registry.host
        directory.mkdir(parents=True)
        (directory / "ca.crt").write_bytes(Path(tls.authority).read_bytes())
        settings = RegistrySettings(certs_dirs=(str(tmp_path / "certs.d"),))
        with Registry(settings, credentials(tmp_path)) as client:
            push_image(client.repository(f"{registry.host}/a/b"), "1", BLOB)
            assert client.repository(f"{registry.host}/a/b").manifest("1").data
        (directory / "ca.crt").write_bytes(Path(make_tls(tmp_path).authority).read_bytes())
        with (
            Registry(settings, credentials(tmp_path)) as client,
            pytest.raises(TransferError, match=r"certificate verify failed.*certs\.d"),
        ):
            client.repository(f"{registry.host}/a/b").resolve("1")
        with Registry(RegistrySettings(), credentials(tmp_path)) as client:  # loopback is insecure by itself
            assert client.repository(f"{registry.host}/a/b").manifest("1").data


def test_tokens_are_fetched_and_used_again(tmp_path: Path) -> None:
    with (
        token_server(tmp_path, {"alice": "secret"}) as tokens,
        docker_registry(tmp_path, tokens=tokens) as registry,
    ):
        held = credentials(tmp_path, registry.host, "alice", "secret")
        with Registry(RegistrySettings(), held) as client:
            push_image(client.repository(f"{registry.host}/public/app"), "1", BLOB)
            assert [asked.get("scope") for asked in tokens.asked] == ["repository:public/app:pull,push"]
            client.repository(f"{registry.host}/public/app").manifest("1")
            assert len(tokens.asked) == 1
            push_image(client.repository(f"{registry.host}/private/app"), "1", b"x")
            assert client.check_login(registry.host, Credential("alice", "secret")) == "Login Succeeded"
            identity = Credential(identity_token="identity-of-alice")
            assert client.check_login(registry.host, identity) == "Login Succeeded"
            with pytest.raises(Unauthorized, match="incorrect username or password"):
                client.check_login(registry.host, Credential("alice", "wrong"))
        with Registry(RegistrySettings(), Credentials(str(tmp_path / "none.json"))) as client:
            assert client.repository(f"{registry.host}/public/app").manifest("1").data
            private = f"{registry.host}/private/app"
            with pytest.raises(PermissionDenied, match=f"^pull access denied for {private}, repository does"):
                client.repository(private).manifest("1")
            with pytest.raises(PermissionDenied, match="push access denied for"):
                push_image(client.repository(f"{registry.host}/public/app"), "2", b"y")
