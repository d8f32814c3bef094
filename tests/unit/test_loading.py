"""The programs' finder finds what the library's does, and reads what the library wrote."""

import importlib.machinery
import importlib.util
import marshal
import os
import pkgutil
import shutil
import subprocess
import sys
from typing import Any

import pytest

import tiffin
from tiffin import loading

HOME = os.path.dirname(os.path.dirname(os.path.abspath(tiffin.__file__)))


def names() -> list[str]:
    """Every module and package of ours."""
    return [
        found.name
        for found in pkgutil.walk_packages(tiffin.__path__, "tiffin.")
        if "__main__" not in found.name
    ]


def test_every_module_is_found_as_the_library_finds_it() -> None:
    finder = loading._Finder()
    for name in names():
        path = [os.path.join(HOME, *name.split(".")[:-1])]
        ours, theirs = finder.find_spec(name, path), importlib.machinery.PathFinder.find_spec(name, path)
        assert theirs is not None
        for field in ("name", "origin", "cached", "has_location", "parent", "submodule_search_locations"):
            assert getattr(ours, field) == getattr(theirs, field), (name, field)


@pytest.mark.parametrize(
    "name", ["json", "tiffin", "tiffinx.cli", "tiffin.nothing", "tiffin.cli.nothing.at_all"]
)
def test_what_is_not_ours_is_left_to_the_library(name: str) -> None:
    path = None if "." not in name else [os.path.join(HOME, *name.split(".")[:-1])]
    assert loading._Finder().find_spec(name, path) is None


def run(directory: Any, program: str, *options: str) -> str:
    """What a program prints that has our finder and a package `tiffin` of its own."""
    text = (
        f"import sys; sys.path.insert(0, {str(directory)!r})\nfrom tiffin import loading; loading.install()\n"
    )
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-S", *options, "-c", text + program],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Any) -> Any:
    """A small `tiffin` with our finder and a module `said`."""
    home = tmp_path / "tiffin"
    home.mkdir()
    (home / "__init__.py").write_text("")
    for name in ("loading.py", "typed.py"):
        shutil.copy(f"{HOME}/tiffin/{name}", home)
    (home / "said.py").write_text("WORD = 'first'\n")
    return home


SAY = "import tiffin.said as s; print(s.WORD, s.__loader__._source.st_size)"


def test_a_module_that_was_never_compiled_is_compiled_and_kept(package: Any) -> None:
    assert run(package.parent, SAY) == "first 15"
    assert list((package / "__pycache__").glob("said.*.pyc"))


def test_a_changed_source_is_read_again(package: Any) -> None:
    run(package.parent, SAY)
    (package / "said.py").write_text("WORD = 'second'\n")
    assert run(package.parent, SAY) == "second 16"
    (package / "said.py").write_text("WORD = 'third!'\n")  # as long: only its time tells
    os.utime(package / "said.py", (1, 1))
    assert run(package.parent, SAY) == "third! 16"


def test_the_compiled_file_is_what_is_run(package: Any) -> None:
    run(package.parent, SAY)
    (compiled,) = (package / "__pycache__").glob("said.*.pyc")
    code = compile("WORD = 'compiled'", "said.py", "exec")
    compiled.write_bytes(compiled.read_bytes()[:16] + marshal.dumps(code))
    assert run(package.parent, SAY) == "compiled 15"


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 64], ids=["empty", "short", "zeros"])
def test_a_compiled_file_that_is_none_is_no_reason_to_fail(package: Any, damage: bytes) -> None:
    run(package.parent, SAY)
    (compiled,) = (package / "__pycache__").glob("said.*.pyc")
    compiled.write_bytes(damage)
    assert run(package.parent, SAY) == "first 15"


def test_a_compiled_file_that_is_checked_by_its_hash_is_the_librarys(package: Any) -> None:
    run(package.parent, SAY)
    (compiled,) = (package / "__pycache__").glob("said.*.pyc")
    source = (package / "said.py").read_bytes()
    code = compile("WORD = 'hashed'", "said.py", "exec")
    head = importlib.util.MAGIC_NUMBER + (3).to_bytes(4, "little") + importlib.util.source_hash(source)
    compiled.write_bytes(head + marshal.dumps(code))
    assert run(package.parent, SAY) == "hashed 15"


@pytest.mark.parametrize("options", [["-O"], ["-X", "pycache_prefix=/nonexistent"]])
def test_unusual_interpreters_keep_the_librarys_finders(package: Any, options: list[str]) -> None:
    program = "import tiffin.said as s; print(s.WORD, type(s.__loader__).__name__)"
    assert run(package.parent, program, "-B", *options) == "first SourceFileLoader"


def test_an_error_shows_the_line_of_its_source(package: Any) -> None:
    (package / "said.py").write_text("def fail():\n    raise ValueError('here')\n")
    program = (
        "import tiffin.said as s, traceback\ntry: s.fail()\nexcept ValueError: print(traceback.format_exc())"
    )
    assert "raise ValueError('here')" in run(package.parent, program)
