"""`--format`, the same for every command that lists: Docker's table, `table TEMPLATE`, `json`, or a Go template.

    listing = Listing(args.format, {"Name": "NAME", "Driver": "DRIVER", "Labels": "LABELS"}, ("Driver", "Name"))
    listing.print({"Name": v.name, "Driver": "local", "Labels": "a=b"} for v in volumes)

A row is its fields by the names that templates use; all are offered to templates and to `json`, and those of the
default table are shown without `--format`. The template engine is loaded only when a template is given.
"""

import sys

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tiffin.cli.template import Template

OPTION_HELP = "table, table TEMPLATE, json, or a Go template such as '{{.ID}}'"


class Listing:
    """What a `--format` asks for."""

    def __init__(self, form: str, headings: "Mapping[str, str]", columns: "Sequence[str]") -> None:
        """`headings` has the heading of each field, `columns` the fields of the default table. Raises TemplateError
        before any work is done."""
        self._headings, self._columns = headings, columns
        self._table, self._template = _read(form)
        self._json = form == "json"

    @property
    def is_default(self) -> bool:
        """Whether it is the plain table, which `-q` and `--no-trunc` may change."""
        return self._table and self._template is None

    def wants(self, field: str) -> bool:
        """Whether rows need this field: some cost more than others."""
        if self._template is not None:
            return field in self._template.fields()
        return self._json or field in self._columns

    def print(self, rows: "Iterable[Mapping[str, Any]]") -> None:
        """Raises TemplateError for a template that does not fit the fields."""
        sys.stdout.write(self.text(rows))

    def text(self, rows: "Iterable[Mapping[str, Any]]") -> str:
        """What `print` prints."""
        if self.is_default:
            cells = (tuple(str(row[column]) for column in self._columns) for row in rows)
            return output.table_text([self._headings[column] for column in self._columns], cells)
        from tiffin.cli.template import Struct, TemplateError, json_text

        # Docker's rows are maps in JSON: their keys come sorted.
        structs = [Struct(sorted(row.items())) for row in rows]
        if self._template is None:
            return "".join(f"{output.escape(json_text(struct))}\n" for struct in structs)
        try:
            texts = [self._template.render(struct, clean=output.escape) for struct in structs]
            head = (
                [self._template.render_headings(Struct(self._headings, Label=_label_heading))]
                if self._table
                else []
            )
        except TemplateError as error:
            raise TemplateError(f"template parsing error: {error}") from error
        text = "".join(f"{line}\n" for line in (*head, *texts))
        return output.aligned(text) if self._table else text


def _label_heading(name: str) -> str:
    """Docker's heading of `{{.Label "com.example.build-date"}}`: build date."""
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _read(form: str) -> "tuple[bool, Template | None]":
    """Whether it is a table, and its template; none for the default table and for json."""
    if form in ("", "table"):
        return True, None
    if form == "json":
        return False, None
    table = form.startswith("table")
    text = form.removeprefix("table") if table else form
    return table, template(text.strip(" ").replace("\\t", "\t").replace("\\n", "\n"))


def template(text: str) -> "Template":
    """The template of an option. Raises TemplateError in Docker's words."""
    from tiffin.cli.template import Template, TemplateError

    try:
        return Template(text)
    except TemplateError as error:
        raise TemplateError(f"template parsing error: {error}") from error
