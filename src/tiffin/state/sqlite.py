"""What the rooms use of SQLite: of the extension module that `sqlite3` is made of, since `sqlite3` itself loads
`datetime` to convert dates, which no column here has: 2 ms of a command. The names are the same objects.

When it is loaded, the extension module takes `functools.lru_cache` for the statements of its connections. `functools`
and what it loads are 1.5 ms of a command that needs nothing else of them: while it is loaded, a module stands in for
it that has the C code of which `functools` makes that cache."""

import sys

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection, DatabaseError, Error, IntegrityError, OperationalError, connect
else:

    def _stand_in():  # noqa: ANN202 - a type checker never sees this half
        """None where it is not needed, or where another thread could find it in the place of the real one."""
        if "functools" in sys.modules or "threading" in sys.modules:
            return None
        try:
            from _functools import _lru_cache_wrapper
        except ImportError:  # another Python: it is no public name
            return None
        module = type(sys)("functools")
        module.lru_cache = lambda most: lambda function: _lru_cache_wrapper(function, most, False, tuple)
        return module

    _functools = _stand_in()
    if _functools is not None:
        sys.modules["functools"] = _functools
    try:
        import _sqlite3 as _module
    except ImportError:  # another Python: it is no public module
        _module = None
    finally:
        if _functools is not None:
            del sys.modules["functools"]
    if _module is None:
        import sqlite3 as _module
    Connection, connect = _module.Connection, _module.connect
    Error, DatabaseError = _module.Error, _module.DatabaseError
    IntegrityError, OperationalError = _module.IntegrityError, _module.OperationalError

__all__ = ["Connection", "DatabaseError", "Error", "IntegrityError", "OperationalError", "connect"]
