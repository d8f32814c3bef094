"""Content digests (image-spec, descriptor.md#digests): `sha256:` and 64 lower-case hexadecimal digits."""

import re

from tiffin.errors import InvalidArgument

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether `text` is exactly one well-formed sha256 digest."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: object, what: str = "digest") -> str:
    """`text` itself when it is a digest that tiffin can verify; InvalidArgument otherwise. Always to be asked
    before a digest from outside becomes part of a path."""
    if not isinstance(text, str) or _DIGEST.fullmatch(text) is None:
        shown = repr(text)[:80]
        raise InvalidArgument(f"invalid {what} {shown}: want sha256: and 64 hexadecimal digits")
    return text
