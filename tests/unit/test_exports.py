"""`import tiffin` is cheap, and everything that it promises is there."""

import subprocess
import sys

import tiffin


def test_every_promised_name_is_there() -> None:
    for name in tiffin.__all__:
        assert getattr(tiffin, name) is not None
    assert dir(tiffin) == tiffin.__all__ == sorted(tiffin.__all__, key=str)


def test_importing_tiffin_loads_nothing_of_it() -> None:
    program = "import sys, tiffin; print(*sorted(name for name in sys.modules if name.startswith('tiffin')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tiffin", "tiffin._version", "tiffin.typed"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(tiffin, "nothing")
