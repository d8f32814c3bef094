"""tiffin's own tar: a bounded streaming reader and a deterministic writer. No file system, no compression.

for entry in (reader := TarReader(stream)):
    if entry.kind is Kind.FILE:
        reader.read_into(fd)            # or: for piece in reader.chunks(): ...

writer = TarWriter(out)
writer.add(Entry("hello", size=2), b"hi")
writer.finish()
"""

from tiffin.layer.entry import Entry, Kind
from tiffin.layer.limits import DEFAULT_LIMITS, Limits
from tiffin.layer.tarreader import Readable, TarReader
from tiffin.layer.tarwriter import TarWriter, Writable

__all__ = ["DEFAULT_LIMITS", "Entry", "Kind", "Limits", "Readable", "TarReader", "TarWriter", "Writable"]
