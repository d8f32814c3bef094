"""Frozen values for this room: declared like dataclasses and checked like them by mypy, at a fraction of the import.

Measured as whole processes on CPython 3.11: the `dataclasses` module costs 7 to 13 ms and each class 0.5 to 0.8 ms
more; a build that finds every step in the cache is over in 60.
"""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_):  # noqa: ANN003, ANN201 - a word to the type checker
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Value:
    """A subclass lists its fields as annotations, with defaults that nothing changes (ClassVars are no fields);
    base classes' fields come first. Fields are given by position or by name. Equal when class and fields are.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        """`kw_only` is for mypy: fields without a default may then follow fields that have one."""
        own = [name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar")]
        cls._fields = (*cls._fields, *own)
        cls._defaults = {**cls._defaults, **{name: vars(cls)[name] for name in own if name in vars(cls)}}

    def __init__(self, *args: Any, **values: Any) -> None:
        placed = dict(zip(self._fields, args, strict=False))
        given = {**self._defaults, **placed, **values}
        if len(args) > len(placed) or placed.keys() & values.keys() or given.keys() != set(self._fields):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._fields)}, not {sorted(given)}")
        vars(self).update(given)

    def replace(self, **changes: Any) -> Self:
        """A copy with other values in these fields."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} is set once")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} stays")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *(vars(self)[name] for name in self._fields)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={vars(self)[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"
