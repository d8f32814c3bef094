"""--format, for every command that lists."""

import subprocess
import sys
from typing import Any

import pytest

from tiffin.cli.formatting import Listing
from tiffin.cli.template import TemplateError

HEADINGS = {"ID": "IMAGE ID", "Name": "NAME", "Labels": "LABELS", "Size": "SIZE"}
ROWS: list[dict[str, Any]] = [
    {"Name": "web", "ID": "0123456789ab", "Labels": "a=1", "Size": "3MB", "Label": {"a": "1"}.get},
    {"Name": "a-long-name", "ID": "ba9876543210", "Labels": "", "Size": "1kB", "Label": lambda _: ""},
]


def printed(form: str, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]] = ROWS) -> str:
    Listing(form, HEADINGS, ("Name", "ID")).print(rows)
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["", "table"])
def test_the_default_is_a_table(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(form, capsys) == (
        "NAME          IMAGE ID\nweb           0123456789ab\na-long-name   ba9876543210\n"
    )
    assert printed(form, capsys, []) == "NAME      IMAGE ID\n"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.Name}}", "web\na-long-name\n"),
        (r"{{.Name}}\t{{.Size}}", "web\t3MB\na-long-name\t1kB\n"),
        ("{{.Label \"a\"}};", "1;\n;\n"),
        ("json", '{"ID":"0123456789ab","Labels":"a=1","Name":"web","Size":"3MB"}\n'
                 '{"ID":"ba9876543210","Labels":"","Name":"a-long-name","Size":"1kB"}\n'),
        (r"table {{.Name}}\t{{.Size}}", "NAME          SIZE\nweb           3MB\na-long-name   1kB\n"),
        ("table {{upper .Name}}:{{truncate .Size 1}}", "NAME:SIZE\nWEB:3\nA-LONG-NAME:1\n"),
        (r'table {{.Name}}\t{{.Label "org.build-date"}}', "NAME          build date\nweb\na-long-name\n"),
        (r'table {{json .Name}}\t{{join (split .Labels "=") "-"}}',
         'NAME            LABELS\n"web"           a-1\n"a-long-name"\n'),
    ],
)  # fmt: skip
def test_templates(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "Label": lambda name, row=row: row["Label"](name) or ""} for row in ROWS]
    assert printed(form, capsys, rows) == text


def test_json_of_a_row_is_the_same_by_either_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("json", capsys) == printed("{{json .}}", capsys)


def test_what_drives_a_terminal_is_shown_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"Name": "a\x1b[31m", "ID": "", "Labels": "", "Size": ""}]
    assert printed("{{.Name}}", capsys, rows) == "a\\x1b[31m\n"
    assert printed("json", capsys, rows) == '{"ID":"","Labels":"","Name":"a\\u001b[31m","Size":""}\n'
    assert printed("\x1b[1m{{.Size}}", capsys, rows) == "\x1b[1m\n"  # the user's own


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{", "template parsing error: template: :1: unclosed action"),
        ("{{.Nope}}", "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope"),
        ("table {{.Nope}}", "can't evaluate field Nope"),
        ("{{upper}}", "wrong number of args for upper: want 1 got 0"),
    ],
)  # fmt: skip
def test_a_wrong_template_prints_nothing_else(
    form: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TemplateError) as caught:
        Listing(form, HEADINGS, ("Name",)).print(ROWS)
    assert text in str(caught.value)
    assert caught.value.exit_code == 1
    assert capsys.readouterr().out == ""


def test_a_field_that_nobody_asks_for_need_not_be_found_out() -> None:
    assert Listing("", HEADINGS, ("Name",)).wants("Name")
    assert not Listing("", HEADINGS, ("Name",)).wants("Size")
    assert Listing("json", HEADINGS, ("Name",)).wants("Size")
    assert Listing("{{if true}}{{len .Size}}{{end}}", HEADINGS, ()).wants("Size")
    assert not Listing("table {{.Name}}", HEADINGS, ()).wants("Size")


def test_a_plain_table_does_not_load_the_template_engine() -> None:
    program = (
        "import sys; from tiffin.cli.formatting import Listing;"
        "Listing('', {'A': 'A'}, ('A',)).print([{'A': 'x'}]);"
        "assert 'tiffin.cli.template' not in sys.modules;"
        "Listing('{{.A}}', {'A': 'A'}, ('A',)).print([{'A': 'x'}]);"
        "assert 'tiffin.cli.template' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "A\nx\nx\n"), done.stderr
