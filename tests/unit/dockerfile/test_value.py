"""`Value` is what this room uses in a dataclass's place."""

import pytest

from tiffin.dockerfile.command import Command, Heredoc
from tiffin.dockerfile.instructions import Arg, Copy, Env
from tiffin.dockerfile.value import Value


def copy(**changes: object) -> Copy:
    fields: dict[str, object] = {
        "line": 1,
        "end_line": 2,
        "source": "COPY a b",
        "sources": ("a",),
        "dest": "b",
    }
    return Copy(**{**fields, **changes})  # type: ignore[arg-type] # what is refused is the test


def test_fields_of_base_classes_come_first_and_defaults_are_filled_in() -> None:
    made = copy()
    assert list(vars(made)) and made.line == 1 and made.sources == ("a",)
    assert (made.chown, made.from_, made.heredocs) == ("", "", ())
    assert Copy._fields[:3] == ("line", "end_line", "source")
    assert "keyword" not in Copy._fields


def test_fields_are_given_by_position_or_by_name() -> None:
    assert Command(("a",), True) == Command(args=("a",), shell=True)
    assert Heredoc("EOF", "text") == Heredoc(name="EOF", content="text", expand=True)


def test_values_are_equal_when_class_and_fields_are() -> None:
    assert copy() == copy()
    assert hash(copy()) == hash(copy())
    assert copy() != copy(dest="c")
    pairs = (("A", "1"),)
    assert Env(line=1, end_line=1, source="", pairs=pairs) != Arg(line=1, end_line=1, source="", pairs=pairs)


def test_a_value_is_replaced_and_never_changed() -> None:
    made = copy()
    assert made.replace(dest="c").dest == "c"
    assert made.dest == "b"
    with pytest.raises(AttributeError, match="frozen"):
        made.dest = "c"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del made.dest


@pytest.mark.parametrize("wrong", [{"nothing": 1}, {"dest": None, "nothing": 1}])
def test_unknown_fields_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="Copy takes line, end_line"):
        copy(**wrong)


def test_missing_repeated_and_superfluous_fields_are_refused() -> None:
    class Two(Value):
        one: int
        two: int = 2

    assert repr(Two(1)) == "Two(one=1, two=2)"
    for args, named in (((), {}), ((1, 2, 3), {}), ((1,), {"one": 1})):
        with pytest.raises(TypeError, match="Two takes one, two"):
            Two(*args, **named)
