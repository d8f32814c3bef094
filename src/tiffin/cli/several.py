"""Commands that take several names: each is done, and the exit code says whether any failed."""

from tiffin.cli.output import escape, print_error
from tiffin.errors import TiffinError
from tiffin.typed import Callable, Iterable


def each(names: Iterable[str], call: Callable[[str], object]) -> int:
    """Call for each name; print the name on success, as Docker does, or the error. Returns 0, or 1 if any failed."""
    failed = 0
    for name in names:
        try:
            call(name)
        except TiffinError as error:
            print_error(str(error))
            failed = 1
        else:
            print(escape(name), flush=True)
    return failed
