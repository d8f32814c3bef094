"""The use cases: `Engine` is the facade, one service module per noun behind it."""

from tiffin.engine.facade import Engine

__all__ = ["Engine"]
