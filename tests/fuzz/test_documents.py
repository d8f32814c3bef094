"""Manifests, indexes and configs from outside: whatever they are, they are taken whole or refused by name."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt, LimitExceeded, Unsupported
from tiffin.oci.descriptor import INDEX, MANIFEST, Index, Manifest, parse_document
from tiffin.oci.digest import is_digest
from tiffin.oci.image import diff_ids, parse_config

DIGEST = "sha256:" + "a" * 64
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([DIGEST, MANIFEST, INDEX]),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "mediaType",
    "digest",
    "size",
    "schemaVersion",
    "config",
    "layers",
    "manifests",
    "annotations",
    "platform",
]
CONFIG_KEYS = [
    "os",
    "architecture",
    "rootfs",
    "diff_ids",
    "history",
    "config",
    "Env",
    "Cmd",
    "Volumes",
    "Labels",
    "User",
]


def documents(keys: list[str]) -> st.SearchStrategy[object]:
    return st.recursive(
        values,
        lambda inner: st.dictionaries(st.sampled_from(keys), inner, max_size=5) | st.lists(inner, max_size=3),
        max_leaves=12,
    )


@given(documents(KEYS), st.sampled_from(["", MANIFEST, INDEX]))
def test_a_manifest_is_taken_whole_or_refused(document: object, media_type: str) -> None:
    try:
        parsed = parse_document(json.dumps(document).encode(), media_type)
    except (Corrupt, Unsupported, LimitExceeded) as error:
        assert str(error)
        return
    named = parsed.manifests if isinstance(parsed, Index) else (parsed.config, *parsed.layers)
    assert isinstance(parsed, Index | Manifest)
    assert all(is_digest(descriptor.digest) and descriptor.size >= 0 for descriptor in named)


@given(documents(CONFIG_KEYS))
def test_a_config_is_taken_whole_or_refused(document: object) -> None:
    try:
        config = parse_config(json.dumps(document).encode())
    except (Corrupt, LimitExceeded) as error:
        assert str(error)
        return
    assert all(is_digest(diff_id) for diff_id in diff_ids(config))


@given(st.binary(max_size=64))
def test_bytes_that_are_no_json_are_corrupt(data: bytes) -> None:
    for parse in (parse_document, parse_config):
        try:
            parse(data)
        except (Corrupt, Unsupported):
            continue
        raise AssertionError(f"{data!r} was taken")
