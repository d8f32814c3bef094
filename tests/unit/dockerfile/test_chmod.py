"""`--chmod`: what each mode makes of a file's and a directory's bits."""

from __future__ import annotations

import pytest

from tiffin.dockerfile.chmod import parse_chmod
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "before", "file", "directory"),
    [
        ("755", 0o600, 0o755, 0o755),
        ("0644", 0o755, 0o644, 0o644),
        ("7", 0o755, 0o007, 0o007),
        ("01777", 0o755, 0o1777, 0o1777),
        ("+x", 0o644, 0o755, 0o755),
        ("+w", 0o444, 0o666, 0o666),
        ("a-w", 0o666, 0o444, 0o444),
        ("go-rwx", 0o777, 0o700, 0o700),
        ("u=rwX,go=rX", 0o640, 0o644, 0o755),
        ("u=rwX,go=rX", 0o700, 0o755, 0o755),
        ("u=rw,go=X", 0o700, 0o611, 0o611),
        ("g=u", 0o640, 0o660, 0o660),
        ("g=u-w", 0o640, 0o640, 0o640),
        ("o+u", 0o740, 0o747, 0o747),
        ("go=", 0o777, 0o700, 0o700),
        ("=", 0o6755, 0o000, 0o000),
        ("=r", 0o1755, 0o1444, 0o1444),
        ("u+s", 0o755, 0o4755, 0o4755),
        ("g+s", 0o755, 0o2755, 0o2755),
        ("o+s", 0o755, 0o755, 0o755),
        ("+t", 0o777, 0o1777, 0o1777),
        ("o+t", 0o777, 0o777, 0o777),
        ("-t", 0o1777, 0o777, 0o777),
        ("u=rw,g=r,o=", 0o777, 0o640, 0o640),
        ("u+r-w+x", 0o200, 0o500, 0o500),
        ("ug=rw,o=", 0o777, 0o660, 0o660),
    ],
)
def test_modes_apply_as_chmod_does_with_no_umask(text: str, before: int, file: int, directory: int) -> None:
    mode = parse_chmod(text)
    assert oct(mode.apply(before, is_directory=False)) == oct(file)
    assert oct(mode.apply(before, is_directory=True)) == oct(directory)


@pytest.mark.parametrize(
    "text",
    ["", "8", "77777", "0o755", "rwx", "u", "u=rz", "x+r", "g=ur", "u=r,", "+x," * 200, "+" + "r" * 300],
)
def test_what_is_no_mode_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidArgument, match="use octal digits such as 0755, or a symbolic mode"):
        parse_chmod(text)
