"""Building the helper: which compiler, for which machine, and what is said when there is none."""

from __future__ import annotations

import os
import shutil
import stat
import sys

import pytest

from tiffin.errors import Unsupported
from tiffin.init import compile as build
from tiffin.init import open_helper

HOST = os.uname().machine
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[HOST]
MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine
HAVE_CC = build.host_compiler(HOST) is not None
HAVE_ZIG = build._has_ziglang()


def machine_of(path) -> int:
    header = path.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    return int.from_bytes(header[18:20], "little")


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)


@pytest.mark.skipif(not HAVE_CC, reason="needs a C compiler")
def test_the_hosts_compiler_makes_a_small_static_helper(tmp_path):
    output = tmp_path / "helper"
    build.compile_helper(HOST, str(output))
    assert machine_of(output) == MACHINES[HOST]
    assert output.stat().st_size < 32768
    assert b"/lib" not in output.read_bytes()  # no interpreter, no library
    assert os.listdir(tmp_path) == ["helper"]


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_ZIG, reason="needs ziglang")
@pytest.mark.parametrize("arch", build.ARCHITECTURES)
def test_ziglang_makes_it_for_every_architecture_without_a_host_compiler(tmp_path, no_compiler, arch):
    output = tmp_path / "helper"
    build.compile_helper(arch, str(output))
    assert machine_of(output) == MACHINES[arch]
    assert output.stat().st_size < 32768


@pytest.mark.skipif(not HAVE_CC, reason="needs a C compiler")
def test_ziglang_is_asked_for_only_where_the_hosts_compiler_will_not_do(monkeypatch, tmp_path):
    assert not build.needs_ziglang(HOST)
    assert build.needs_ziglang(OTHER)
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'error: no linker' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    assert build.needs_ziglang(HOST)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert build.needs_ziglang(HOST)


def test_without_any_compiler_one_line_names_both(monkeypatch, tmp_path, no_compiler):
    monkeypatch.setattr(build, "_has_ziglang", lambda: False)
    with pytest.raises(build.CompileError) as caught:
        build.compile_helper(HOST, str(tmp_path / "helper"))
    said = str(caught.value)
    assert "install cc" in said
    assert "pip install 'ziglang" in said
    assert "\n" not in said
    assert os.listdir(tmp_path) == []


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'x.c:1: error: no such thing' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    monkeypatch.setattr(build, "_has_ziglang", lambda: False)
    with pytest.raises(build.CompileError, match=r"failed \(3\): x.c:1: error: no such thing; no ziglang"):
        build.compile_helper(HOST, str(tmp_path / "helper"))


@pytest.mark.parametrize(
    ("asked", "arch"), [("arm64", "aarch64"), ("amd64", "x86_64"), ("aarch64", "aarch64"), ("", HOST)]
)
def test_the_target_is_named_by_the_environment(monkeypatch, asked, arch):
    monkeypatch.setenv("TIFFIN_TARGET_ARCH", asked)
    assert build.target_architecture() == arch


def test_an_unknown_target_is_refused(monkeypatch):
    monkeypatch.setenv("TIFFIN_TARGET_ARCH", "riscv64")
    with pytest.raises(build.CompileError, match="x86_64 and aarch64, not 'riscv64'"):
        build.target_architecture()


def test_a_checkout_rebuilds_what_is_older_than_its_sources_and_a_wheel_never_does(monkeypatch, tmp_path):
    for name in (*build.SOURCES, *build.HEADERS):
        shutil.copy(os.path.join(build.HERE, name), tmp_path)
    monkeypatch.setattr(build, "HERE", str(tmp_path))
    binary = tmp_path / "helper"
    assert build.is_stale(str(binary))
    binary.touch()
    assert not build.is_stale(str(binary))
    os.utime(tmp_path / "sys.h", (2**32, 2**32))
    assert build.is_stale(str(binary))
    (tmp_path / "sys.h").unlink()
    assert not build.is_stale(str(binary))


def test_a_wheel_for_another_machine_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "HERE", str(tmp_path))
    with pytest.raises(Unsupported, match=f"no helper for {HOST}: install a wheel"):
        open_helper()


def test_the_opened_helper_is_whole_executable_and_close_on_exec():
    fd = open_helper()
    try:
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o500
        assert not os.get_inheritable(fd)
        with open(os.path.join(build.HERE, build.binary_name(HOST)), "rb") as file:
            assert os.pread(fd, 1 << 20, 0) == file.read()
    finally:
        os.close(fd)


def test_opening_the_helper_imports_no_compiler_machinery():
    code = (
        "import sys, os\nfrom tiffin.init import open_helper\nfrom tiffin.init import launch, message\n"
        "open_helper()\nheavy = {'subprocess', 'tempfile', 'shutil', 'importlib.util', 'ctypes'} & set(sys.modules)\n"
        "print(heavy) if heavy else None\n"
    )
    import subprocess

    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], check=True, env=env, capture_output=True, text=True
    )
    assert done.stdout == ""
