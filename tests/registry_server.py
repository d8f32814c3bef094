"""`tiffin registry serve` as a user starts it, and raw HTTP to speak to it."""

import hashlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.command import Tiffin

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Answer(NamedTuple):
    """A response, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the one error in it."""
        return str(self.document["errors"][0]["code"])


class Served:
    """A running server. Call it to make a request on a connection of its own."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, ca: str = "") -> None:
        self.process, self.url = process, url
        self.address = url.partition("//")[2]
        self._ca = ca

    def connect(self) -> http.client.HTTPConnection:
        if self.url.startswith("https"):
            return http.client.HTTPSConnection(
                self.address, timeout=60, context=ssl.create_default_context(cafile=self._ca)
            )
        return http.client.HTTPConnection(self.address, timeout=60)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Header names have _ for -."""
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def push_blob(self, name: str, data: bytes) -> str:
        """Its digest."""
        digest = digest_of(data)
        answer = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer
        return digest

    def push_manifest(self, name: str, reference: str, document: Any, media_type: str = MANIFEST) -> Answer:
        data = document if isinstance(document, bytes) else encode(document)
        return self("PUT", f"/v2/{name}/manifests/{reference}", data, Content_Type=media_type)

    def push_artifact(self, name: str, reference: str, **more: Any) -> Answer:
        """A manifest of something that is no image."""
        self.push_blob(name, b"{}")
        return self.push_manifest(name, reference or digest_of(encode(artifact(**more))), artifact(**more))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def artifact(**more: Any) -> dict[str, Any]:
    empty = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty], **more}


def collect(tiffin: Tiffin) -> int:
    """Collect what nothing names in an engine, as every removing command does; how many things."""
    from tiffin.engine import Engine

    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
        return engine.images.collect()


@contextmanager
def serving(
    tiffin: Tiffin,
    *options: str | Path,
    prefix: tuple[str, ...] = (),
    ca: str = "",
    listen: str = "127.0.0.1:0",
    impatience: str = "",
) -> Iterator[Served]:
    """The server, ready; ended in order afterwards, unless the test ended it. `prefix` stands before its command;
    `impatience` are Python statements that make its limits smaller, run first."""
    command = tiffin.argv("registry", "serve", "--listen", listen, *options)
    if impatience:
        program = f"{impatience}\nimport sys\nfrom tiffin.cli.main import main\nsys.exit(main())"
        command = [sys.executable, "-c", program, *command[3:]]
    process = subprocess.Popen(
        [*prefix, *command],
        stdout=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("Serving "), f"it ended: {process.wait(10)}"
        yield Served(process, line.split()[1], ca)
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
