"""Manifests of anything, as peers push them: parsed, or refused with an error of tiffin's own."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import Corrupt, LimitExceeded, Unsupported
from tiffin.oci.artifact import parse_artifact
from tiffin.oci.descriptor import INDEX, MANIFEST
from tiffin.oci.digest import is_digest

DIGEST = "sha256:" + "a" * 64
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([DIGEST, MANIFEST, INDEX, ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
descriptors = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": values | st.just("text/plain"),
        "digest": values | st.just(DIGEST),
        "size": values | st.just(3),
        "annotations": values,
        "platform": values,
        "urls": values,
    },
)
lists = values | st.lists(descriptors | values, max_size=3)
documents = st.fixed_dictionaries(
    {"schemaVersion": st.sampled_from([2, 2, 2, 1, "2"])},
    optional={
        "mediaType": st.sampled_from([MANIFEST, INDEX]) | values,
        "artifactType": values,
        "config": descriptors | values,
        "layers": lists,
        "manifests": lists,
        "subject": descriptors | values,
        "annotations": values,
    },
)


@given(documents | values, st.sampled_from(["", MANIFEST, INDEX, "text/plain"]))
def test_what_is_parsed_has_checked_links(document: Any, media_type: str) -> None:
    try:
        found = parse_artifact(json.dumps(document).encode(), media_type)
    except (Corrupt, LimitExceeded, Unsupported):
        return
    assert found.media_type in (MANIFEST, INDEX)
    assert not media_type or media_type == found.media_type
    assert not (found.blobs and found.manifests)
    assert all(is_digest(entry.digest) for entry in (*found.blobs, *found.manifests))
    assert found.subject == "" or is_digest(found.subject)


def test_a_media_type_that_is_no_text_is_refused() -> None:
    for wrong in ([1], {"a": 1}, 7, True):
        with pytest.raises((Corrupt, Unsupported)):
            parse_artifact(json.dumps({"schemaVersion": 2, "mediaType": wrong}).encode())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    try:
        parse_artifact(data)
    except (Corrupt, LimitExceeded, Unsupported):
        return
