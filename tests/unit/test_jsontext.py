"""`tiffin.jsontext` reads and writes as `json` does, and loads it only for what is not plain."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(VALUES)
def test_what_it_writes_is_what_json_writes(value: object) -> None:
    assert jsontext.dumps(value) == json.dumps(value)
    assert jsontext.dumps(value, separators=(",", ":"), sort_keys=True) == json.dumps(
        value, separators=(",", ":"), sort_keys=True
    )
    assert jsontext.dumps(value, ensure_ascii=False) == json.dumps(value, ensure_ascii=False)


@given(VALUES)
def test_what_it_reads_is_what_json_reads(value: object) -> None:
    text = json.dumps(value)
    assert jsontext.loads(text) == value
    assert jsontext.loads(f" \n{text}\t\r\n".encode()) == value


@given(st.text(max_size=40))
def test_a_string_is_quoted_as_json_does(text: str) -> None:
    assert jsontext.quoted(text) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,]", '{"a":1} x', '"\n"', "nul", "\ufeff1", b"\xff", "01", "'a'", "[1 2]"]
)
def test_what_is_no_json_is_refused_in_the_words_of_json(text: str | bytes) -> None:
    with pytest.raises(ValueError) as theirs:
        json.loads(text)
    with pytest.raises(ValueError) as ours:
        jsontext.loads(text)
    assert str(ours.value) == str(theirs.value)


def test_numbers_that_are_none_are_read_and_written_as_json_does() -> None:
    assert jsontext.dumps([float("inf"), -float("inf")]) == "[Infinity, -Infinity]"
    assert jsontext.loads("[Infinity,-Infinity]") == [float("inf"), -float("inf")]
    assert jsontext.dumps(jsontext.loads("NaN")) == "NaN"
    assert jsontext.loads(json.dumps("ü").encode("utf-16")) == "ü"


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError, match="Object of type set is not JSON serializable"):
        jsontext.dumps({1})
    around: list[object] = []
    around.append(around)
    with pytest.raises(ValueError, match="Circular reference"):
        jsontext.dumps(around)


def test_plain_documents_load_neither_json_nor_regular_expressions() -> None:
    program = (
        "import sys; before = set(sys.modules); from tiffin import jsontext;"
        "assert jsontext.loads(b' {\"a\": [1, 2.5, null]}\\n') == {'a': [1, 2.5, None]};"
        "jsontext.dumps({'a': 'b'}); assert not {'json', 're'} & (set(sys.modules) - before)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_text_that_breaks_off_is_refused_where_json_was_not_loaded_yet() -> None:
    program = (
        "import sys; from tiffin.jsontext import loads\n"
        "assert 'json' not in sys.modules\n"
        "for text in ('{\"a\":1', '[1', '\"a', '{\"a\"', '[1,'):\n"
        "    try: loads(text)\n"
        "    except ValueError: pass\n"
        "    else: raise SystemExit(text)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
