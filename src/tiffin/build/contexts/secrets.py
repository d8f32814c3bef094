"""Secrets of a build, read in the moment that a step needs them and kept nowhere."""

from __future__ import annotations

import os

from tiffin.errors import LimitExceeded, NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.build.contexts.inputs import SecretSource

SECRET_MAX = 500 << 10  # bytes, as BuildKit has it


def read_secret(name: str, source: SecretSource) -> bytes | None:
    """What a secret holds; None for a variable that is not set. Raises NotFound, LimitExceeded."""
    if source.variable:
        text = os.environ.get(source.variable)
        data = None if text is None else os.fsencode(text)
    else:
        try:
            with open(source.path, "rb") as file:
                data = file.read(SECRET_MAX + 1)
        except OSError as error:
            raise NotFound(
                f"cannot read the secret {name!r} from {source.path!r}: {error.strerror}"
            ) from error
    if data is not None and len(data) > SECRET_MAX:
        raise LimitExceeded(f"the secret {name!r} is larger than {SECRET_MAX >> 10} KiB")
    return data
