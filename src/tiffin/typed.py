"""What the rooms need of `typing`, `collections.abc` and `contextlib`, without loading them.

`typing` costs a short command 2 ms, and each `typing.NamedTuple` 0.1 ms more, for a constructor that it compiles from
text; a `run` has forty of them. `contextlib` and the package `collections` cost 2 ms, with what is behind them. Type
checkers see the real thing. At run time `NamedTuple` is the small class below, with the methods that
`collections.namedtuple` documents, and `contextmanager` the small function; the kinds of collections are those of a
module that every interpreter starts with; the other names stand where annotations name them.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import contextmanager
    from typing import Any, BinaryIO, Final, NamedTuple, NoReturn, Protocol
else:
    from _collections_abc import Callable, Iterable, Iterator, Mapping, Sequence
    from _operator import itemgetter

    Any = BinaryIO = Final = NoReturn = Protocol = object

    class _NamedTupleType(type):
        """Turns the annotations of a direct subclass of `NamedTuple` into fields, and its values into defaults."""

        def __new__(cls, name, bases, namespace):
            if NamedTuple is None or NamedTuple not in bases:
                return super().__new__(cls, name, bases, namespace)
            fields = tuple(_annotations(namespace))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            required = len(fields) - len(defaults)
            if any(field in defaults for field in fields[:required]):
                raise TypeError(f"{name}: a field without a default follows one that has one")
            for position, field in enumerate(fields):
                namespace[field] = property(itemgetter(position))
            namespace.setdefault("__slots__", ())
            namespace["_fields"] = namespace["__match_args__"] = fields
            namespace["_field_defaults"] = defaults
            return super().__new__(cls, name, bases, namespace)

    def _annotations(namespace):
        annotations = namespace.get("__annotations__")
        if annotations is None and "__annotate_func__" in namespace:  # Python 3.14 and later
            import annotationlib

            annotate = annotationlib.get_annotate_from_class_namespace(namespace)
            annotations = annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF)
        return annotations or {}

    NamedTuple = None  # while the base itself is made

    class NamedTuple(tuple, metaclass=_NamedTupleType):  # noqa: F811 - see above
        """A tuple with names and types: the same as `typing.NamedTuple` to those who use it."""

        __slots__ = ()
        _fields = ()
        _field_defaults = {}

        def __new__(cls, *values, **named):
            if named or len(values) != len(cls._fields):
                values = cls._arguments(values, named)
            return tuple.__new__(cls, values)

        @classmethod
        def _arguments(cls, values, named):
            if len(values) > len(cls._fields):
                raise TypeError(f"{cls.__name__} takes {len(cls._fields)} fields, not {len(values)}")
            filled = list(values)
            for field in cls._fields[len(values) :]:
                if field in named:
                    filled.append(named.pop(field))
                elif field in cls._field_defaults:
                    filled.append(cls._field_defaults[field])
                else:
                    raise TypeError(f"{cls.__name__} needs the field {field!r}")
            if named:
                raise TypeError(f"{cls.__name__} has no field {next(iter(named))!r}, or was given it twice")
            return filled

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, /, **changes):
            values = [changes.pop(field, value) for field, value in zip(self._fields, self, strict=True)]
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {next(iter(changes))!r}")
            return tuple.__new__(type(self), values)

        def __repr__(self):
            pairs = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({pairs})"

        def __getnewargs__(self):
            return tuple(self)

    class _Managed:
        """A generator between its start and its end: what is done around a `with`."""

        __slots__ = ("_steps",)

        def __init__(self, steps):
            self._steps = steps

        def __enter__(self):
            for value in self._steps:
                return value
            raise RuntimeError("generator didn't yield")

        def __exit__(self, kind, error, trace):
            if kind is None:
                for _ in self._steps:
                    self._steps.close()
                    raise RuntimeError("generator didn't stop")
                return False
            try:
                self._steps.throw(error)
            except StopIteration as end:
                return end is not error
            except BaseException as raised:
                # A StopIteration that is thrown into a generator comes out as the cause of a RuntimeError.
                if raised is error or (isinstance(error, StopIteration) and raised.__cause__ is error):
                    error.__traceback__ = trace
                    return False
                raise
            self._steps.close()
            raise RuntimeError("generator didn't stop after throw()")

    def contextmanager(function):
        """The same as `contextlib.contextmanager`, for `with` alone: what it makes is no decorator."""

        def manager(*values, **named):
            return _Managed(function(*values, **named))

        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(manager, name, getattr(function, name))
        manager.__wrapped__ = function
        return manager


__all__ = [
    "TYPE_CHECKING",
    "Any",
    "BinaryIO",
    "Callable",
    "Final",
    "Iterable",
    "Iterator",
    "Mapping",
    "NamedTuple",
    "NoReturn",
    "Protocol",
    "Sequence",
    "contextmanager",
]
