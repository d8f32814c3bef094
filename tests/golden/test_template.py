"""Templates give what Go's text/template gives: golden/template/expected.json was written by oracle.go beside it."""

import json
from pathlib import Path

import pytest

from tiffin.cli.template import Template, TemplateError

HERE = Path(__file__).parent / "template"
CASES = json.loads((HERE / "cases.json").read_text())
EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.mark.parametrize("text", CASES["Templates"])
def test_a_template_does_what_go_does(text: str) -> None:
    try:
        found = {"out": Template(text).render(CASES["Value"])}
    except TemplateError as error:
        found = {"out": "", "error": str(error)}
    assert found == EXPECTED[text]
