"""What the tests of the client share: clients that do not wait, small blobs, endpoints of hostile servers."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.hostile_registry import Answer, Hostile
from tests.registries import Tls
from tiffin.config import RegistrySettings
from tiffin.oci.descriptor import CONFIG, LAYER_GZIP, MANIFEST, Descriptor
from tiffin.registry.blobs import BlobStream
from tiffin.registry.client import Registry
from tiffin.registry.credentials import Credential, Credentials
from tiffin.registry.transport import Transport
from tiffin.registry.waiting import Waiting


class Patient(Waiting):
    """Waits in no time, and says for how long it would have."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        super().__init__(pause=self.waits.append, chance=lambda: 0.0)


class Memory(Credentials):
    """Credentials without a file."""

    def __init__(self, known: Mapping[str, Credential] | None = None) -> None:
        super().__init__("/nonexistent/config.json")
        self.known = dict(known or {})

    def get(self, registry: str) -> Credential | None:
        return self.known.get(registry)


@contextlib.contextmanager
def client_of(
    known: Mapping[str, Credential] | None = None,
    *,
    settings: RegistrySettings | None = None,
    environment: Mapping[str, str] | None = None,
    trace: Callable[[str], None] | None = None,
    stall: int = 5,
) -> Iterator[Registry]:
    """A client that does not wait between attempts (`client.waits` are the seconds it would have)."""
    settings = (settings or RegistrySettings())._replace(stall_timeout=stall)
    waiting = Patient()
    transport = Transport(settings, trace=trace, environment=environment or {}, waiting=waiting)
    with Registry(settings, Memory(known), transport=transport) as client:
        client.waits = waiting.waits  # type: ignore[attr-defined] # the tests' own
        yield client


def trusting(directory: Path, tls: Tls, *hosts: str, **how: Any) -> RegistrySettings:
    """Settings whose certs.d has the authority for each of `hosts`."""
    for host in hosts:
        (directory / "certs.d" / host).mkdir(parents=True, exist_ok=True)
        (directory / "certs.d" / host / "ca.crt").write_bytes(Path(tls.authority).read_bytes())
    return RegistrySettings(certs_dirs=(str(directory / "certs.d"),), **how)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blob_of(data: bytes, media_type: str = LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type, digest_of(data), len(data))


def manifest_of(*layers: bytes) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob_of(b"{}", CONFIG).document(),
        "layers": [blob_of(layer).document() for layer in layers],
    }
    return json.dumps(document).encode()


def manifest_answer(data: bytes, **headers: str) -> Answer:
    return Answer(200, {"Content-Type": MANIFEST, **headers}, data)


def read_all(stream: BlobStream, size: int = 1 << 16) -> bytes:
    with stream:
        return b"".join(iter(lambda: stream.read(size), b""))


def authorizations(server: Hostile) -> set[str]:
    """The Authorization headers that it ever got."""
    return {seen.headers[name] for seen in server.seen for name in seen.headers if "authorization" in name}
