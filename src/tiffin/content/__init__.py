"""Blobs by digest: written once, verified while they are written, never changed.

A store of blobs answers to the `ContentStore` Protocol (store.py) and to tests/suites/content.py. `LocalContent`
keeps them under `oci/blobs/sha256`, so that other tools find a valid OCI image layout.
"""

from tiffin.content.local import LocalContent

__all__ = ["LocalContent"]
