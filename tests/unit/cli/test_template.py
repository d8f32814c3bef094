"""What is tiffin's own about templates; that they do what Go does is shown by tests/golden/test_template.py."""

import pytest

from tiffin.cli.template import NilList, NilMap, Struct, Template, TemplateError, Texts


def render(text: str, value: object = None) -> str:
    return Template(text).render(value)


def test_a_struct_prints_as_go_prints_one() -> None:
    value = Struct(Name="web", Ports=NilList(), Labels=NilMap(), Timeout=None, Inner=Struct(A=1))
    assert render("{{.}}", value) == "{web [] map[] <nil> {1}}"
    assert (
        render("{{json .}}", value)
        == '{"Name":"web","Ports":null,"Labels":null,"Timeout":null,"Inner":{"A":1}}'
    )
    assert render("{{.Timeout}} {{.Ports}} {{.Labels}} {{len .Ports}}", value) == "<nil> [] map[] 0"
    assert render("{{if .Timeout}}a{{else}}b{{end}}{{if .Inner}}c{{end}}{{if .Ports}}d{{end}}", value) == "bc"
    assert render('{{printf "%+v" .Inner}}', value) == "{A:1}"


def test_a_field_that_a_struct_lacks_is_an_error_that_lists_those_it_has() -> None:
    with pytest.raises(TemplateError, match="can't evaluate field C in type struct; it has A, B") as caught:
        render("{{.C}}", Struct(A=1, B=2))
    assert str(caught.value).startswith('template: :1:2: executing "" at <.C>: ')


def test_a_map_of_texts_gives_an_empty_text_for_what_it_lacks() -> None:
    value = Struct(Labels=Texts(a="1"))
    assert render('<{{index .Labels "b"}}{{index .Labels "a"}}> {{.Labels.b}}', value) == "<1> <no value>"


def test_methods_take_their_argument() -> None:
    value = Struct(Label=lambda name: f"[{name}]", Name="x")
    assert (
        render('{{.Label "a"}} {{"b" | .Label}} {{(.Label .Name)}} {{$.Label "c"}}', value)
        == "[a] [b] [x] [c]"
    )
    assert render("{{json .}}", value) == '{"Name":"x"}'
    for text in ("{{.Label}}", '{{.Label "a" "b"}}', "{{.Label 1}}"):
        with pytest.raises(TemplateError, match="wrong"):
            render(text, value)


@pytest.mark.parametrize(
    "text",
    [
        "{{" + "(" * 200 + "1" + ")" * 200 + "}}",
        "{{if true}}" * 200 + "{{end}}" * 200,
        "{{if false}}" + "{{else if false}}" * 200 + "{{end}}",
        "x" * 70000,
        "{{range 100000000}}{{end}}",
        "{{range 10000}}{{range 10000}}x{{end}}{{end}}",
        "{{range 10000}}{{pad \"x\" 10000 10000}}{{end}}",
        "{{pad \"x\" 100000000000 1}}",
        "{{define \"a\"}}{{end}}",
    ],
)  # fmt: skip
def test_a_template_is_bounded(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert str(caught.value).startswith("template: ")


def test_widths_of_printf_are_bounded() -> None:
    assert render('{{printf "%99999999d" 1}}') == "%!(BADWIDTH)1"
    assert len(render('{{printf "%.999999f" 1.5}}')) < 20


def test_the_fields_that_a_template_mentions() -> None:
    text = "{{.A}}{{if .B.C}}{{(index .D 0).E}}{{end}}{{range $x := $.F}}{{$x.G | printf .H}}{{end}}"
    assert Template(text).fields() == frozenset("ABCDEFGH")


def test_only_what_actions_give_is_cleaned() -> None:
    assert Template("a{{.}}a").render("a", clean=str.upper) == "aAa"
