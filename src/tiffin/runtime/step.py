"""Naming what was being done when the kernel said no."""

from __future__ import annotations

import os
from errno import EDQUOT, ENOSPC

from tiffin.errors import EngineError, NoSpace
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class step:
    """An OSError inside becomes EngineError("cannot <what>: <why>"), or NoSpace."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError):
            return
        why = error.strerror or str(error)
        if error.filename and str(error.filename) not in self.what:
            why = f"{why}: {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else why
        if error.errno in (ENOSPC, EDQUOT):
            raise NoSpace(f"cannot {self.what}: {why}; free some space and try again") from error
        raise EngineError(f"cannot {self.what}: {why}") from error
