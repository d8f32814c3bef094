"""What the tests of pulling share."""

from pathlib import Path

from tests.integration.images.archives import tar
from tests.integration.images.remote import Remote, incompressible
from tiffin.images import Images
from tiffin.images.pull import Pulled, PullOptions
from tiffin.oci.platform import parse_platform
from tiffin.oci.reference import parse_reference

BASE = tar({"base": incompressible(3 << 20)})
ONE, TWO = tar({"one": b"1" * 5000}), tar({"two": b"2" * 7000})
ARM = {"os": "linux", "architecture": "arm64"}
AMD = {"os": "linux", "architecture": "amd64"}


def pull(
    images: Images, remote: Remote, text: str = "r.io/app:1", platform: str = "", **options: bool
) -> Pulled:
    chosen = parse_platform(platform) if platform else None
    return images.pull(remote, parse_reference(text), chosen, options=PullOptions(**options))


def partials(images: Images) -> list[Path]:
    return [path for path in Path(images.store.layout.staging).iterdir() if path.name.startswith("partial-")]


def two_platforms(remote: Remote, tag: str = "1") -> dict[str, object]:
    attestation = remote.image("", [tar({"statement": b"x"})], architecture="unknown", os="unknown")
    return remote.index(
        tag,
        remote.image("", [ONE], architecture="arm64") | {"platform": ARM},
        remote.image("", [TWO]) | {"platform": AMD},
        attestation
        | {
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        },
    )
