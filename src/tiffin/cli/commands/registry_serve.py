"""`tiffin registry serve`."""

import gc
import os
import re

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Offer the images of this engine as a registry (OCI distribution API): docker, podman, skopeo and the tiffin of another
machine pull from it and push to it. What is pushed is an image here. Ends with Ctrl-C or SIGTERM."""
EXAMPLES = """\
tiffin registry serve
tiffin registry serve --read-only --allow-anonymous --allow-http --listen 0.0.0.0:5000
tiffin registry serve --listen :443 --htpasswd users --tls-cert cert.pem --tls-key key.pem
"""

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("--listen", default="127.0.0.1:5000", metavar="ADDR:PORT",
        help="where to listen; port 0 is any free one (default: 127.0.0.1:5000)")  # fmt: skip
    add("--htpasswd", metavar="FILE", help="ask for a user and password of this file (bcrypt, htpasswd -B)")
    add("--tls-cert", metavar="FILE", help="certificate chain to serve https with (PEM)")
    add("--tls-key", metavar="FILE", help="its key (PEM)")
    parser.switch("--read-only", help="pull only: refuse everything that changes the store")
    parser.switch(
        "--allow-anonymous", help="listen beyond this machine although nobody is asked for a password"
    )
    parser.switch("--allow-http", help="listen beyond this machine although nothing is encrypted")
    add("--max-blob-size", type=_bytes, default=_bytes("64g"), metavar="BYTES",
        help="refuse larger blobs; k, m, g, t as in 64g (default: 64g)")  # fmt: skip
    add("--port-file", metavar="FILE", help="write ADDR:PORT to this file once it listens")


def run(args: "Namespace", session: "Session") -> int:
    gc.freeze()
    gc.enable()

    def ready(url: str) -> None:
        if args.port_file:
            _write(args.port_file, url.partition("//")[2])
        print(f"Serving {url}", flush=True)

    session.engine.registry.serve(
        args.listen,
        htpasswd=args.htpasswd,
        certificate=args.tls_cert,
        key=args.tls_key,
        read_only=args.read_only,
        allow_anonymous=args.allow_anonymous,
        allow_http=args.allow_http,
        blob_max=args.max_blob_size,
        ready=ready,
    )
    return 0


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12})([kmgt]?)b?", text.lower())
    if match is None or not int(match[1]):
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2]]


def _write(path: str, text: str) -> None:
    """Whole or not at all: whoever waits for the file reads it at once."""
    aside = f"{path}.{os.getpid()}"
    with open(aside, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
    os.rename(aside, path)
