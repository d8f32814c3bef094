"""The store of record: where things lie, the SQLite database, its transactions and the locks around it."""

from tiffin.state.layout import Layout, locate
from tiffin.state.store import Store, lock_file, open_store

__all__ = ["Layout", "Store", "locate", "lock_file", "open_store"]
