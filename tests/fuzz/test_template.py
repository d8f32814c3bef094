"""Whatever the template, it is applied or refused, and in time that grows with its length."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.cli.template import Struct, Template, TemplateError

WORDS = r"""
{{ }} {{- -}} .Name .A.b $ $x := = , | ( ) "a" `a` 'a' 1 -2.5 0x1p3 nil true if else end range with break index len
printf "%d" "%5.2f" "%q" eq lt and or not print json split join pad truncate upper /* */ .N .L .M 99999999999
\n . .. ! é {{.Name}} {{range} {{end}} {{if} {{else}}
"""
PIECES = st.sampled_from(WORDS.split())
VALUE = {
    "Name": "x",
    "A": {"b": [1, 2]},
    "N": None,
    "L": ["a", 1, None, {"k": 1.5}],
    "M": Struct(x=1, y=None),
}


@given(st.lists(st.one_of(PIECES, st.sampled_from([" ", "\n"]), st.text(max_size=5)), max_size=30))
@settings(max_examples=1500, deadline=None)
def test_nothing_but_the_declared_error(pieces: list[str]) -> None:
    for text in ("".join(pieces), "{{" + " ".join(pieces) + "}}"):
        try:
            Template(text).render(VALUE)
        except TemplateError as error:
            assert str(error).startswith("template: ")
            assert "\n" not in str(error) or "\n" in text


@given(
    st.text(),
    st.lists(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans()), max_size=4),
)
@settings(max_examples=500, deadline=None)
def test_printf_takes_any_format(form: str, values: list[object]) -> None:
    for text in (form, form.replace("a", "%"), "%" + form):
        Template("{{printf .Form (index .V 0) (index .V 1)}}").render({"Form": text, "V": [*values, 1, 2]})


def test_time_grows_with_the_length() -> None:
    for unit in (
        "{{",
        "{{/*",
        "{{.A.b",
        '{{"',
        "{{- ",
        "a",
        "{{.A}}",
        "{{1e",
        "{{.A|",
        "{{ ",
        "\n{{foo",
        "{{$x:=",
    ):
        started = time.perf_counter()
        for text in (unit * (60_000 // len(unit)), unit + " " * 60_000, unit + "9" * 60_000):
            try:
                Template(text).render(VALUE)
            except TemplateError:
                pass
        assert time.perf_counter() - started < 2, unit
