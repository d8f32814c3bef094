"""Compiling tiffin-init: for wheels by the build hook, for a source checkout on first use.

Stands alone (the build hook loads it by path before tiffin exists): the standard library only. The compiler
is the host's `$CC`, `cc`, `gcc` or `clang`; where there is none that works, or for another architecture,
`ziglang` from PyPI, which brings a cross compiler of its own.
"""

from __future__ import annotations

import os
import sys

ARCHITECTURES = ("x86_64", "aarch64")
SOURCES = ("tiffin-init.c", "message.c")
HEADERS = ("sys.h", "message.h")
ZIGLANG = "ziglang>=0.13"
HERE = os.path.dirname(os.path.abspath(__file__))

FLAGS = (
    *("-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-s"),
    *("-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie"),
    *("-fno-stack-protector", "-fno-sanitize=all", "-fno-asynchronous-unwind-tables"),
    *("-Wl,--build-id=none", "-Wl,-z,noexecstack"),
)
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


class CompileError(Exception):
    """No compiler made the helper; one line that names the two that would do."""


def target_architecture() -> str:
    """`$TIFFIN_TARGET_ARCH`, else this machine's. CompileError for one that the helper is not written for."""
    name = os.environ.get("TIFFIN_TARGET_ARCH") or os.uname().machine
    arch = _ALIASES.get(name, name)
    if arch not in ARCHITECTURES:
        raise CompileError(f"tiffin-init knows {' and '.join(ARCHITECTURES)}, not {name!r}")
    return arch


def binary_name(arch: str) -> str:
    """The helper's file name in the package."""
    return f"tiffin-init-{arch}"


def is_stale(binary: str) -> bool:
    """Whether `binary` is missing or older than a source beside this file; never without sources."""
    try:
        newest = max(os.stat(os.path.join(HERE, name)).st_mtime_ns for name in (*SOURCES, *HEADERS))
    except FileNotFoundError:
        return False
    try:
        return os.stat(binary).st_mtime_ns < newest
    except FileNotFoundError:
        return True


def host_compiler(arch: str) -> list[str] | None:
    """The host's own compiler as a command, when `arch` is the host's and there is one."""
    import shlex
    import shutil

    if arch != os.uname().machine:
        return None
    for candidate in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        command = shlex.split(candidate)
        if command and shutil.which(command[0]):
            return command
    return None


def needs_ziglang(arch: str) -> bool:
    """Whether the build has to ask for ziglang: no compiler of the host makes the helper for `arch`."""
    import tempfile

    command = host_compiler(arch)
    if command is None:
        return True
    with tempfile.TemporaryDirectory() as directory:
        return bool(_attempt(command, os.path.join(directory, "probe")))


def compile_helper(arch: str, output: str) -> None:
    """Write the helper for `arch` to `output`; aside and renamed, so that several at once do no harm.

    CompileError says why the host's compiler and ziglang did not do.
    """
    scratch = f"{output}.{os.getpid()}.tmp"
    command = host_compiler(arch)
    try:
        reason = (
            _attempt(command, scratch) if command else f"no C compiler for {arch} (install cc, or set CC)"
        )
        if reason:
            zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-musl"]
            also = _attempt(zig, scratch) if _has_ziglang() else f"no ziglang (pip install '{ZIGLANG}')"
            if also:
                raise CompileError(f"cannot compile tiffin-init for {arch}: {reason}; {also}")
        os.replace(scratch, output)
    except OSError as error:
        raise CompileError(f"cannot write {output}: {error.strerror}") from error
    finally:
        if os.path.exists(scratch):
            os.unlink(scratch)


def _has_ziglang() -> bool:
    import importlib.util

    return importlib.util.find_spec("ziglang") is not None


def _attempt(command: list[str], output: str) -> str:
    """Compile to `output`: "" when done, else the compiler's complaint as one line."""
    import subprocess

    sources = [os.path.join(HERE, name) for name in SOURCES]
    try:
        done = subprocess.run(
            [*command, *FLAGS, "-o", output, *sources],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    if done.returncode == 0:
        return ""
    said = [line for line in done.stderr.splitlines() if line.strip()]
    telling = next((line for line in said if "error" in line), said[0] if said else "no message")
    return f"{' '.join(command)} failed ({done.returncode}): {telling.strip()}"
