"""T46: what stands in a path of the embedded registry is matched whole before it is used."""

import pytest

from tests.command import Tiffin
from tests.registry_server import digest_of, serving

pytestmark = [pytest.mark.root, pytest.mark.registry]

NAMES = [
    "..", "%2e%2e", "%2E%2E%2f%2e%2e", "a/..", "../a", "a/../../b", "a%0a", "a\\b", "a%00", "A", "a//b", "/a", "a/",
    "a..b", "-a", "a_", "_catalog/x", "a%25", "a%2f..%2fb", "%ff", "a" * 300, "a%20", "a:b", "a@b", "localhost:5000/a",
    "a_b.c/d", "a" * 250,
]  # fmt: skip
DIGEST = digest_of(b"")


def test_a_name_that_is_none_is_refused_everywhere_and_touches_nothing(tiffin: Tiffin) -> None:
    before = sorted(tiffin.root.rglob("*"))
    with serving(tiffin) as served:
        for name in NAMES:
            for method, rest in [
                ("GET", "tags/list"),
                ("GET", "manifests/latest"),
                ("PUT", "manifests/latest"),
                ("DELETE", "manifests/latest"),
                ("GET", f"blobs/{DIGEST}"),
                ("POST", "blobs/uploads/"),
                ("GET", f"referrers/{DIGEST}"),
            ]:
                answer = served(method, f"/v2/{name}/{rest}", b"" if method in ("PUT", "POST") else None)
                assert (answer.status, answer.code) == (400, "NAME_INVALID"), (
                    f"{method} {name}/{rest}: {answer}"
                )
    assert sorted(
        path for path in tiffin.root.rglob("*") if "-shm" not in path.name and "-wal" not in path.name
    ) == [path for path in before if "-shm" not in path.name and "-wal" not in path.name]


@pytest.mark.parametrize(
    ("method", "rest", "code"),
    [
        ("GET", "manifests/%2e%2e", "MANIFEST_UNKNOWN"),
        ("PUT", "manifests/%2e%2e", "TAG_INVALID"),
        ("PUT", "manifests/latest%0a", "TAG_INVALID"),
        ("PUT", "manifests/" + "a" * 129, "TAG_INVALID"),
        ("GET", "manifests/sha256:..", "DIGEST_INVALID"),
        ("GET", "blobs/sha256:%2e%2e%2fx", "NAME_UNKNOWN"),
        ("GET", f"blobs/{DIGEST}%0a", "DIGEST_INVALID"),
        ("GET", f"blobs/{DIGEST.upper()}", "DIGEST_INVALID"),
        ("GET", "blobs/" + "sha512:" + "a" * 128, "DIGEST_INVALID"),
        ("POST", "blobs/uploads/?digest=sha256:../../x", "DIGEST_INVALID"),
        ("POST", "blobs/uploads/?mount=../../x&from=a", "DIGEST_INVALID"),
        ("GET", "blobs/uploads/..", "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH", "blobs/uploads/%2e%2e", "BLOB_UPLOAD_UNKNOWN"),
    ],
)
def test_tags_digests_and_upload_ids_are_matched_whole(
    tiffin: Tiffin, method: str, rest: str, code: str
) -> None:
    with serving(tiffin) as served:
        answer = served(method, f"/v2/busybox/{rest}", b"" if method != "GET" else None)
        assert (answer.status in (400, 404), answer.code) == (True, code)
