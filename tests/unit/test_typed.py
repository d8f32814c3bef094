"""The light NamedTuple and contextmanager are what the library's are to those who use them."""

import contextlib
import copy
import pickle
import typing
from typing import Any

import pytest

from tiffin.typed import Iterator, NamedTuple, contextmanager


class Ours(NamedTuple):
    """A point."""

    x: int
    y: "str | None" = None
    z: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        return self.x * 2

    def moved(self) -> "Ours":
        return self._replace(x=self.x + 1)


class Theirs(typing.NamedTuple):
    x: int
    y: "str | None" = None
    z: tuple[int, ...] = ()


class Heir(Ours):
    @property
    def label(self) -> str:
        return f"<{self.x}>"


CALLS = [
    ((1,), {}),
    ((1, "a"), {}),
    ((1, "a", (2,)), {}),
    ((), {"x": 3}),
    ((1,), {"z": (4,)}),
    ((), {"y": "b", "x": 0}),
]


@pytest.mark.parametrize(("values", "named"), CALLS)
def test_it_is_made_and_read_as_the_real_one(values: Any, named: Any) -> None:
    ours: Any = Ours(*values, **named)
    theirs: Any = Theirs(*values, **named)
    assert tuple(ours) == tuple(theirs) and ours == theirs and hash(ours) == hash(theirs)
    assert (ours.x, ours.y, ours.z) == (theirs.x, theirs.y, theirs.z)
    assert ours._asdict() == theirs._asdict()
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert ours._replace(y="new") == theirs._replace(y="new")
    assert copy.copy(ours) == ours and type(pickle.loads(pickle.dumps(ours))) is Ours


def test_what_the_class_says_of_itself() -> None:
    assert Ours._fields == Theirs._fields == Ours.__match_args__
    assert Ours._field_defaults == Theirs._field_defaults
    assert Ours._make([1, "a", ()]) == (1, "a", ())
    assert not hasattr(Ours(1), "__dict__")
    assert Ours.__doc__ == "A point."


def test_methods_and_heirs() -> None:
    assert Ours(2).twice == 4 and Ours(2).moved() == Ours(3)
    heir = Heir(5)
    assert heir.label == "<5>" and type(heir._replace(y="a")) is Heir and isinstance(heir, Ours)


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"x": 2}), ((1,), {"w": 2})]
)
def test_wrong_fields_are_type_errors(values: Any, named: Any) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_fields_are_read_only_and_ordered() -> None:
    with pytest.raises(AttributeError):
        Ours(1).x = 2  # type: ignore[misc]
    with pytest.raises((TypeError, ValueError)):
        Ours(1)._replace(w=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):

        class Wrong(NamedTuple):
            a: int = 1
            b: str  # type: ignore[misc]


def _noted(steps: list[str], *, swallow: bool = False) -> Iterator[str]:
    """A resource that notes what happens to it."""
    steps.append("open")
    try:
        yield "it"
    except ValueError:
        steps.append("failed")
        if not swallow:
            raise
    finally:
        steps.append("closed")


def _fail() -> None:
    raise ValueError


MANAGERS = [contextmanager, contextlib.contextmanager]


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_context_is_entered_and_left(manager: Any) -> None:
    steps: list[str] = []
    with manager(_noted)(steps) as value:
        steps.append(value)
    assert steps == ["open", "it", "closed"]
    assert manager(_noted).__name__ == "_noted" and "resource" in manager(_noted).__doc__


@pytest.mark.parametrize("manager", MANAGERS)
def test_an_error_reaches_the_generator_and_goes_on_as_it_is(manager: Any) -> None:
    steps: list[str] = []
    error = ValueError("x")
    with pytest.raises(ValueError) as raised, manager(_noted)(steps):
        raise error
    assert raised.value is error and steps == ["open", "failed", "closed"]
    assert [entry.name for entry in raised.traceback] == [
        "test_an_error_reaches_the_generator_and_goes_on_as_it_is"
    ]


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_generator_may_end_an_error_or_give_another(manager: Any) -> None:
    failed: list[str] = []
    with manager(_noted)(failed, swallow=True):
        _fail()
    assert failed == ["open", "failed", "closed"]

    @manager
    def translated() -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise KeyError("y") from error

    with pytest.raises(KeyError) as raised, translated():
        raise ValueError
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("error", [StopIteration("z"), GeneratorExit(), KeyboardInterrupt()])
def test_errors_that_mean_something_to_generators_pass_too(manager: Any, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, manager(_noted)([]):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_generator_gives_exactly_one_value(manager: Any) -> None:
    @manager
    def none() -> Iterator[None]:
        yield from ()

    @manager
    def two() -> Iterator[None]:
        yield
        yield

    @manager
    def stubborn() -> Iterator[None]:
        try:
            yield
        except ValueError:
            yield

    with pytest.raises(RuntimeError, match="didn't yield"), none():
        pass
    with pytest.raises(RuntimeError, match="didn't stop"), two():
        pass
    with pytest.raises(RuntimeError, match=r"didn't stop after throw\(\)"), stubborn():
        raise ValueError
