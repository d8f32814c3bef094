"""--output, --annotation, --cache-to and --cache-from as values; SOURCE_DATE_EPOCH as a time; documents of a cache."""

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.build.cache import Cached, Kept, Layer
from tiffin.build.epoch import NO_EPOCH, checkout_mode, clamp_history, epoch_of, narrowed, with_epoch
from tiffin.build.results.exchange import (
    CacheSource,
    CacheTarget,
    parse_source,
    parse_target,
    read_document,
    read_inline,
    with_inline,
    write_document,
)
from tiffin.build.results.outputs import Annotation, Output, annotations_for, parse_annotation, parse_outputs
from tiffin.build.solving.explain import Memory
from tiffin.build.solving.export import Solved
from tiffin.errors import Corrupt, InvalidArgument, TiffinError
from tiffin.images import LayerBlob
from tiffin.oci.descriptor import LAYER_GZIP, Descriptor
from tiffin.oci.platform import Platform

ARM = Platform("linux", "arm64")


def test_the_short_forms() -> None:
    assert parse_outputs(["-"], ())[0] == Output("tar", "-")
    assert parse_outputs(["/a/../b"], ())[0] == Output("local", "/b")
    assert parse_outputs([], ())[0] == Output("image")
    assert parse_outputs(["type=registry"], ())[0] == Output("image", push=True)
    assert parse_outputs(["type=docker"], ())[0] == Output("image")
    assert parse_outputs(["type=oci"], ())[0].dest == "-"


def test_quotes_hold_what_has_commas() -> None:
    (output,) = parse_outputs(['type=image,"name=a/b:1,c","annotation.k=x,y"'], ())
    assert output.names == ("docker.io/a/b:1", "docker.io/library/c:latest")
    assert output.annotations == (Annotation("manifest", None, "k", "x,y"),)


def test_annotations_have_scopes_and_platforms() -> None:
    assert parse_annotation("a=b=c") == [Annotation("manifest", None, "a", "b=c")]
    assert parse_annotation("http://x:y=z") == [Annotation("manifest", None, "http://x:y", "z")]
    found = parse_annotation("index,manifest[linux/arm64],manifest-descriptor:k=v")
    assert [each[:2] for each in found] == [("index", None), ("manifest", ARM), ("manifest-descriptor", None)]
    assert annotations_for(found, "manifest", ARM) == {"k": "v"}
    assert annotations_for(found, "manifest", Platform("linux", "amd64")) == {}
    twice = [*parse_annotation("b=1"), *parse_annotation("a=0"), *parse_annotation("b=2")]
    assert list(annotations_for(twice, "manifest", ARM).items()) == [("a", "0"), ("b", "2")]


@pytest.mark.parametrize(
    "text",
    [
        "type=",
        "type=image,type=oci",
        "type=image,",
        'type=image,"name=a',
        "type=image,compression-level=x",
        "a\nb=c",
    ],
)
def test_what_is_no_output_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_outputs([text], ())


@given(st.text(max_size=60))
def test_any_text_is_an_option_or_refused(text: str) -> None:
    for parse in (lambda t: parse_outputs([t], ()), parse_annotation, parse_source, parse_target):
        try:
            parse(text)
        except TiffinError:
            pass


def test_places_of_a_cache() -> None:
    assert parse_source("x/y:1") == CacheSource("docker.io/x/y:1")
    assert parse_source("type=registry,ref=x") == CacheSource("docker.io/library/x:latest")
    assert parse_source("type=local,src=/d") == CacheSource(path="/d")
    assert parse_target("type=local,dest=/d,mode=max,ignore-error=true") == CacheTarget("", "/d", True, True)
    assert parse_target("type=inline") == CacheTarget()


def test_epochs() -> None:
    assert epoch_of({}) == epoch_of({"SOURCE_DATE_EPOCH": ""}) == NO_EPOCH
    assert epoch_of({"SOURCE_DATE_EPOCH": "0"}) == 0
    assert epoch_of({"SOURCE_DATE_EPOCH": "12"}) == 12 * 10**9
    for text in ("-1", "1.5", "now", "9" * 13, "٣"):
        with pytest.raises(InvalidArgument):
            epoch_of({"SOURCE_DATE_EPOCH": text})
    environment = {"SOURCE_DATE_EPOCH": "1"}
    assert with_epoch({}, environment) == environment
    assert with_epoch({"SOURCE_DATE_EPOCH": "2"}, environment) == {"SOURCE_DATE_EPOCH": "2"}


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (0o644, 0o644),
        (0o600, 0o644),
        (0o664, 0o644),
        (0o700, 0o755),
        (0o775, 0o755),
        (0o400, 0o444),
        (0o4711, 0o4755),
    ],
)
def test_modes_of_a_checkout(mode: int, wanted: int) -> None:
    assert checkout_mode(stat.S_IFREG | mode) == stat.S_IFREG | wanted
    assert narrowed(stat.S_IFREG | 0o600) and narrowed(stat.S_IFDIR | 0o700)
    assert not narrowed(stat.S_IFREG | 0o644) and not narrowed(stat.S_IFLNK | 0o700)


def test_a_history_has_nothing_later_than_the_epoch() -> None:
    history = [{"created": "2001-01-01T00:00:00Z"}, {"created": "2030-01-01T00:00:00Z", "comment": "c"}, {}]
    assert clamp_history(history, 10**18) == [
        history[0],
        {"created": "2001-09-09T01:46:40Z", "comment": "c"},
        {},
    ]


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


LAYERS = (Layer(digest(1), digest(11), LAYER_GZIP, 5), Layer(digest(2), digest(12), LAYER_GZIP, 6))
KEPT = (
    Kept(Cached(digest(101), LAYERS[0], 7), (digest(201),), "COPY x", digest(301), in_result=False),
    Kept(Cached(digest(102), LAYERS[1], 8), (), "RUN y", "", in_result=True),
    Kept(Cached(digest(103), None, 9), (), "ENV z", "", in_result=True),
)
SOLVED = Solved(ARM, {"rootfs": {"diff_ids": [digest(2)]}}, (LayerBlob(*LAYERS[1]),), 1, KEPT)


def descriptors(*layers: Layer) -> list[Descriptor]:
    return [Descriptor(layer.media_type, layer.blob, layer.blob_size) for layer in layers]


def test_what_is_written_of_a_cache_is_what_is_read() -> None:
    document = write_document([SOLVED], everything=True)
    records = read_document(document.data, descriptors(*document.layers))
    found = {kept.found for kept in records.by_key.values()}
    assert found == {kept.found for kept in KEPT}
    assert records.by_key[digest(201)].found.key == digest(101)
    assert records.outlines == {digest(301)} and records.absent == {}


def test_min_says_of_other_steps_only_what_they_are_called() -> None:
    document = write_document([SOLVED], everything=False)
    assert document.layers == LAYERS[1:]
    records = read_document(document.data, descriptors(*document.layers))
    assert set(records.by_key) == {digest(102), digest(103)}
    assert records.absent == {digest(101): digest(101), digest(201): digest(101)}


def test_an_image_says_by_which_steps_it_was_made() -> None:
    records = read_inline(with_inline(SOLVED), descriptors(LAYERS[1]))
    assert records is not None and set(records.by_key) == {digest(102), digest(103)}
    assert records.by_key[digest(102)].found.layer == LAYERS[1]
    assert read_inline({}, []) is None


BROKEN = [
    {"version": 2},
    {"records": None},
    {"records": [None]},
    {"records": [{"key": 1, "created": 0, "layer": -1}]},
    {"records": [{"key": digest(1), "created": -1, "layer": -1}]},
    {"records": [{"key": digest(1), "created": True, "layer": -1}]},
    {"records": [{"key": digest(1), "created": 0, "layer": 2}]},
    {"records": [{"key": digest(1), "created": 0, "layer": -2}]},
    {"records": [{"key": digest(1), "created": 0, "layer": 0, "names": ["x"]}]},
    {"records": [{"key": digest(1), "created": 0, "layer": 0, "names": [digest(1)] * 9}]},
    {"records": [{"key": digest(1), "created": 0, "layer": 0, "outline": "x"}]},
    {"records": [{"key": digest(1), "created": 0, "layer": 0, "createdBy": 1}]},
    {"records": [{"key": "sha256:../../x", "absent": True}]},
    {"layers": [digest(1)]},
    {"layers": [None, 1]},
    {"layers": "xx"},
]


@pytest.mark.parametrize("change", BROKEN, ids=[json.dumps(change)[:60] for change in BROKEN])
def test_a_document_of_another_form_is_none(change: dict[str, object]) -> None:
    document = json.loads(write_document([SOLVED], everything=True).data)
    with pytest.raises(Corrupt):
        read_document(json.dumps({**document, **change}).encode(), descriptors(*LAYERS))


def test_a_record_of_what_is_no_layer_is_refused() -> None:
    document = write_document([SOLVED], everything=True)
    others = [Descriptor("application/json", layer.blob, 1) for layer in document.layers]
    with pytest.raises(Corrupt):
        read_document(document.data, others)


def test_of_many_dockerfiles_the_latest_are_remembered(tmp_path: Path) -> None:
    for number in range(205):
        Memory(str(tmp_path), str(number)).write({})
    assert len(os.listdir(tmp_path)) == 200
    assert Memory(str(tmp_path), "204").read() == {}
    entry = {"key": "k", "text": "t", "inputs": {}, "files": {}}
    Memory(str(tmp_path), "204").write({"place": entry})
    assert Memory(str(tmp_path), "204").read() == {"place": entry}
