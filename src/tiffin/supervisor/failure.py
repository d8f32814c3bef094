"""An error as bytes, from the process where it happened to the process that reports it."""

import tiffin.errors as errors
from tiffin import jsontext as json


def encode(error: BaseException) -> bytes:
    """The class, the line and the exit code. What is no TiffinError travels as EngineError with its type named."""
    if isinstance(error, errors.TiffinError):
        return json.dumps([error.code, str(error)]).encode()
    return json.dumps([errors.EngineError.code, f"{type(error).__name__}: {error}"]).encode()


def decode(payload: bytes) -> errors.TiffinError:
    """The error that `encode` was given, as a new instance of the same class, ready to raise."""
    code, message = json.loads(payload)
    return _CLASSES.get(code, errors.EngineError)(message)


_CLASSES = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.TiffinError) and kind is not errors.DockerfileError
}
