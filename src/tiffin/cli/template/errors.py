"""The one error of the room."""

from tiffin.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """A template that cannot be read, or does not fit the value that it is applied to; Go's text."""

    code = "template"
    exit_code = 1
