"""Content digests (image-spec, descriptor.md#digests): `sha256:` and 64 lower-case hexadecimal digits."""

import sys

from tiffin.errors import InvalidArgument

_SMALL = 1 << 17
_HEX = "0123456789abcdef"


def sha256(data: bytes) -> str:
    """The SHA-256 of a document, in hexadecimal. Loads no OpenSSL for it: `hashlib` takes 3 to 8 ms to import, and
    is worth that for more bytes than a document has."""
    if len(data) <= _SMALL and "hashlib" not in sys.modules:
        try:
            if sys.version_info >= (3, 12):
                from _sha2 import sha256
            else:
                from _sha256 import sha256  # type: ignore[import-not-found] # as the library's own, it has no stub
        except ImportError:  # another Python, or one built without: they are no public modules
            pass
        else:
            found: str = sha256(data).hexdigest()
            return found
    import hashlib

    return hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is exactly one well-formed sha256 digest."""
    return text.startswith("sha256:") and len(text) == 71 and not text[7:].strip(_HEX)


def check_digest(text: object, what: str = "digest") -> str:
    """`text` itself when it is a digest that tiffin can verify; InvalidArgument otherwise. Always to be asked
    before a digest from outside becomes part of a path."""
    if not isinstance(text, str) or not is_digest(text):
        shown = repr(text)[:80]
        raise InvalidArgument(f"invalid {what} {shown}: want sha256: and 64 hexadecimal digits")
    return text
