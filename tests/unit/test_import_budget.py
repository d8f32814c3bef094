"""What each hot command may load: an import is what a short command pays for.

The lists may shrink. To grow one is to make a command slower for everyone, and needs a measured reason.
"""

import ast
import os
import subprocess
import sys
import tomllib

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Python around an extension module that does the work: see docs/architecture.md, values and imports.
AROUND_EXTENSIONS = {"datetime", "enum", "json", "re", "selectors", "signal", "socket", "sqlite3"}
# What `tiffin.typed`, `state.sqlite` and `kernel.libc` stand in for.
STOOD_IN_FOR = {"collections", "contextlib", "ctypes", "functools", "operator", "types"}
BANNED = AROUND_EXTENSIONS | STOOD_IN_FOR | {
    "argparse", "asyncio", "concurrent.futures", "ctypes.util", "dataclasses", "difflib", "email",
    "hashlib", "http", "http.client", "inspect", "importlib.metadata", "isal", "logging", "multiprocessing",
    "pathlib", "pickle", "random", "rich", "secrets", "ssl",
    "subprocess", "tarfile", "tempfile", "threading", "typing", "urllib", "urllib.request", "uuid", "xml", "zstandard",
}  # fmt: skip
# How many modules each may load beyond what the interpreter starts with, the standard library's among them. One costs
# 0.1 to 0.3 ms. Measured on Python 3.11.
MOST_MODULES = {
    "ps": 54, "images": 50, "run": 70, "exec": 71, "start": 76, "stop": 60,
}  # fmt: skip
MOST_MODULES_OF_A_SUPERVISOR = 108
OUR_ROOMS_OFF_THE_HOT_PATH = {
    "tiffin.build",
    "tiffin.config",
    "tiffin.dockerfile",
    "tiffin.layer",
    "tiffin.registry",
}

_PROBE = """
import sys
from tiffin.cli.main import main
code = main(sys.argv[1:])
print("\\n@@" + repr(sorted(sys.modules)), file=sys.stderr)
"""


def loaded_by(words: list[str]) -> set[str]:
    """The modules in memory when the command line `words` has ended, less what the interpreter starts with."""
    done = subprocess.run([sys.executable, "-c", _PROBE, *words], capture_output=True, text=True, timeout=60)
    return set(ast.literal_eval(done.stderr.rpartition("@@")[2]))


def bare() -> set[str]:
    program = "import sys; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return set(ast.literal_eval(done.stdout))


@pytest.mark.parametrize("words", [["--version"], ["run", "--help"], ["exec", "--help"], ["ps", "--help"]])
def test_help_and_version_load_no_engine(words: list[str]) -> None:
    loaded = loaded_by(words) - bare()
    assert not {
        name
        for name in loaded
        if name.startswith("tiffin.")
        and not name.startswith(("tiffin.cli", "tiffin.errors", "tiffin.typed", "tiffin._version"))
    }
    assert not loaded & BANNED


@pytest.mark.parametrize("name", ["tiffin", "tiffin-runtime"])
def test_a_program_loads_nothing_before_the_command_line(name: str) -> None:
    program = os.path.join(ROOT, "src", "programs", name)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", program, "--version"], capture_output=True, text=True, check=True
    )
    assert "version" in done.stdout
    lines = [line.rpartition("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = [name.strip() for _, _, name in lines]
    before = set(loaded[: loaded.index(f"tiffin.cli{'.oci' if 'runtime' in name else ''}")]) - bare()
    assert "tiffin.loading" in before
    assert not before & BANNED


def test_the_wheel_has_the_programs_as_files_and_not_as_entry_points() -> None:
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        project = tomllib.load(file)
    assert "scripts" not in project["project"]
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"]
    assert shared == {f"src/programs/{name}": name for name in ("tiffin", "tiffin-runtime")}
    for path in shared:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            assert file.readline() == "#!/usr/bin/env python3\n"  # which installers replace
        assert os.access(os.path.join(ROOT, path), os.X_OK)


@pytest.mark.root
@pytest.mark.parametrize(
    "words",
    [
        ["ps"],
        ["ps", "-aq", "--no-trunc"],
        ["images"],
        ["images", "--digests"],
        ["run", "--pull", "never", "absent"],
        ["exec", "absent", "true"],
        ["start", "absent"],
        ["stop", "absent"],
    ],
)
def test_hot_commands_load_the_standard_library_alone(
    words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    where = tmp_path_factory.mktemp("budget")
    loaded = loaded_by(["--root", f"{where}/root", "--run", f"{where}/run", *words]) - bare()
    assert len(loaded) <= MOST_MODULES[words[0]], sorted(loaded)
    assert not loaded & BANNED
    assert not {
        name
        for name in loaded
        if any(name == room or name.startswith(room + ".") for room in OUR_ROOMS_OFF_THE_HOT_PATH)
    }


@pytest.mark.parametrize("kind", ["StartJob", "ExecJob"])
def test_what_supervises_a_container_loads_neither_volumes_nor_a_network(kind: str) -> None:
    program = (
        "import sys; from tiffin.supervisor import ahead, jobs, work;"
        f"work.load(jobs.{kind}); print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout)) - bare()
    assert len(loaded) <= MOST_MODULES_OF_A_SUPERVISOR, sorted(loaded)
    assert not loaded & (BANNED | {"tiffin.network.manager", "tiffin.volumes", "termios"})


@pytest.mark.root
def test_a_build_found_in_the_cache_loads_the_standard_library_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    where = tmp_path_factory.mktemp("budget")
    (where / "Dockerfile").write_text("FROM scratch\nENV A=1\nCOPY Dockerfile /x\nWORKDIR /w\n")
    words = ["--root", f"{where}/root", "--run", f"{where}/run", "build", "-q", "-t", "cached", str(where)]
    loaded_by(words)
    assert not (loaded_by(words) - bare()) & (BANNED - AROUND_EXTENSIONS - STOOD_IN_FOR)
