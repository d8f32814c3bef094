"""Cache keys: what a step's result depends on, as one digest.

A step's key takes in the key of the last step before it that makes files, and everything that the step itself
reads. So a change of files changes every key after it, and a change of the config (ENV, LABEL, CMD, ...) those of the
steps that read what was changed. The first key of a stage is made of the base image's DiffIDs *and its whole config*.
Keys are only ever compared with the keys of builds made here: an image that came from elsewhere, whatever its history
says, is never taken for the result of a step.
"""

from __future__ import annotations

from tiffin.jsontext import dumps
from tiffin.oci.digest import sha256
from tiffin.typed import Any

# Goes up whenever a step's meaning changes, so that results of an older tiffin are not taken for ours.
_VERSION = 2


def step_key(kind: str, parent: str, content: Any) -> str:
    """The key of a step of `kind` after the one whose key is `parent`. `content` is JSON data, all that
    counts."""
    document = [_VERSION, kind, parent, content]
    text = dumps(document, sort_keys=True, separators=(",", ":"))
    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass'))}"
