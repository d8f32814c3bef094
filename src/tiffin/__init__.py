"""tiffin: a container engine. `Engine` builds images and runs containers; the errors tell what went wrong.

    import tiffin

    with tiffin.Engine() as engine:
        image = engine.build(".", tag="hello")
        print(engine.run(image, ["echo", "hi"]).output)

Importing tiffin is cheap: each name is loaded when it is first used.
"""

from tiffin._version import __version__
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.containers.record import Device, Resources
    from tiffin.engine.facade import Engine
    from tiffin.engine.options import CommitOptions, Completed, CreateOptions, ExecOptions, LogQuery, Streams
    from tiffin.errors import (
        CommandNotExecutable,
        CommandNotFound,
        Conflict,
        Corrupt,
        DockerfileError,
        EngineError,
        InvalidArgument,
        LimitExceeded,
        NoSpace,
        NotFound,
        PermissionDenied,
        TiffinError,
        TransferError,
        Unauthorized,
        Unsupported,
    )

_HOMES = {
    "tiffin.containers.record": ("Device", "Resources"),
    "tiffin.engine.facade": ("Engine",),
    "tiffin.engine.options": (
        "CommitOptions",
        "Completed",
        "CreateOptions",
        "ExecOptions",
        "LogQuery",
        "Streams",
    ),
    "tiffin.errors": (
        "CommandNotExecutable",
        "CommandNotFound",
        "Conflict",
        "Corrupt",
        "DockerfileError",
        "EngineError",
        "InvalidArgument",
        "LimitExceeded",
        "NoSpace",
        "NotFound",
        "PermissionDenied",
        "TiffinError",
        "TransferError",
        "Unauthorized",
        "Unsupported",
    ),
}

__all__ = [
    "CommandNotExecutable",
    "CommandNotFound",
    "CommitOptions",
    "Completed",
    "Conflict",
    "Corrupt",
    "CreateOptions",
    "Device",
    "DockerfileError",
    "Engine",
    "EngineError",
    "ExecOptions",
    "InvalidArgument",
    "LimitExceeded",
    "LogQuery",
    "NoSpace",
    "NotFound",
    "PermissionDenied",
    "Resources",
    "Streams",
    "TiffinError",
    "TransferError",
    "Unauthorized",
    "Unsupported",
    "__version__",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            import importlib

            value = getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'tiffin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
