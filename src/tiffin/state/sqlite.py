"""What the rooms use of SQLite: of the extension module that `sqlite3` is made of, since `sqlite3` itself loads
`datetime` to convert dates, which no column here has: 2 ms of a command. The names are the same objects."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection, DatabaseError, Error, IntegrityError, OperationalError, connect
else:
    try:
        from _sqlite3 import Connection, DatabaseError, Error, IntegrityError, OperationalError, connect
    except ImportError:  # another Python: it is no public module
        from sqlite3 import Connection, DatabaseError, Error, IntegrityError, OperationalError, connect

__all__ = ["Connection", "DatabaseError", "Error", "IntegrityError", "OperationalError", "connect"]
