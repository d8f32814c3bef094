"""The build hook: compiles tiffin-init for one architecture into the wheel, and tags the wheel with it.

`$TIFFIN_TARGET_ARCH` (x86_64, aarch64) selects another architecture than the machine's. An editable install
gets the helper beside its sources.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE = os.path.join("src", "tiffin", "init")


class InitBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # generic at type-checking time only
    """Adds the helper to wheels and editable installs."""

    scratch = ""

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling: ziglang, where the host's compiler will not do."""
        compiler = self._compiler()
        try:
            return [compiler.ZIGLANG] if compiler.needs_ziglang(compiler.target_architecture()) else []
        except compiler.CompileError as error:
            sys.exit(f"tiffin: {error}")

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, include, tag. The helper needs no libc: one file serves glibc's and musl's systems."""
        compiler = self._compiler()
        try:
            arch = compiler.target_architecture()
            name = compiler.binary_name(arch)
            if version == "editable":
                compiler.compile_helper(arch, os.path.join(self.root, _PACKAGE, name))
            else:
                self.scratch = tempfile.mkdtemp(prefix="tiffin-init-")
                compiler.compile_helper(arch, os.path.join(self.scratch, name))
                build_data["force_include"][os.path.join(self.scratch, name)] = f"tiffin/init/{name}"
        except compiler.CompileError as error:
            sys.exit(f"tiffin: {error}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_2_17_{arch}.manylinux2014_{arch}.musllinux_1_1_{arch}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the scratch directory."""
        del version, build_data, artifact_path  # hatchling's signature
        if self.scratch:
            # Our own temporary directory, out of any container's reach; tiffin.kernel is not importable here.
            shutil.rmtree(self.scratch)  # noqa: TID251

    def _compiler(self) -> ModuleType:
        """init/compile.py, loaded by path: tiffin is not importable while it is being built."""
        path = os.path.join(self.root, _PACKAGE, "compile.py")
        spec = importlib.util.spec_from_file_location("tiffin_init_compile", path)
        if spec is None or spec.loader is None:
            sys.exit(f"tiffin: cannot load {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
