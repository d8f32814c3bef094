"""Finding tiffin's own modules without asking everywhere: for the programs, which load sixty of them each time.

The library's way to a module of ours leads through every finder there is, six looks at the file system and many calls
of Python: as long as reading and running it takes. Where a module lies is known: beside its package. What is found here
is what the library would find, by the same rule for compiled files (size and time of the source); whatever is not plain
(no compiled file, a stale one, one that is checked by its hash) is left to the library's own loader.
"""

import _frozen_importlib_external  # what `importlib.machinery` names, of which `importlib` would load a lot more
import marshal
import posix
import sys

from tiffin.typed import Any, Sequence

_PREFIX = f"{__name__.partition('.')[0]}."
_Spec: Any = type(__spec__)
_Loader: Any = _frozen_importlib_external.SourceFileLoader
_HEADER = 16  # magic number, flags, and of the source the time and the size
_PLAIN = _frozen_importlib_external.MAGIC_NUMBER + bytes(4)
_OPEN = posix.O_RDONLY | posix.O_CLOEXEC
_MASK = (1 << 32) - 1


def install() -> None:
    """To be called once, by a program."""
    if not sys.flags.optimize and sys.pycache_prefix is None and sys.implementation.cache_tag:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Of `sys.meta_path`. It knows modules of ours that are files beside their package, or directories there."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, _: object = None) -> Any:
        """None for what is not ours or not found."""
        if path is None or not name.startswith(_PREFIX):
            return None
        directory, last = path[0], name.rpartition(".")[2]
        found = f"{directory}/{last}.py"
        status = _status(found)
        package = status is None
        if package:
            directory, last = f"{directory}/{last}", "__init__"
            found = f"{directory}/__init__.py"
            status = _status(found)
        if status is None:
            return None
        compiled = f"{directory}/__pycache__/{last}.{sys.implementation.cache_tag}.pyc"
        spec = _Spec(name, _OwnLoader(name, found, compiled, status), origin=found, is_package=package)
        if package:
            spec.submodule_search_locations.append(directory)
        spec.has_location, spec.cached = True, compiled
        return spec


class _OwnLoader(_Loader):  # type: ignore[misc] # the library has it under a name of its own
    """The library's, with the compiled file and the state of the source known."""

    def __init__(self, name: str, path: str, compiled: str, source: posix.stat_result) -> None:
        super().__init__(name, path)
        self._compiled, self._source = compiled, source

    def get_code(self, fullname: str) -> Any:
        return _read(self._compiled, self._source) or super().get_code(fullname)


def _status(path: str) -> posix.stat_result | None:
    try:
        return posix.stat(path)
    except OSError:
        return None


def _read(path: str, source: posix.stat_result) -> Any:
    """The code in a compiled file; None when it is not of this source, or there is none."""
    try:
        fd = posix.open(path, _OPEN)
    except OSError:
        return None
    try:
        size = posix.fstat(fd).st_size
        data = posix.read(fd, size)
    finally:
        posix.close(fd)
    of = (int(source.st_mtime) & _MASK).to_bytes(4, "little") + (source.st_size & _MASK).to_bytes(4, "little")
    if len(data) != size or data[:_HEADER] != _PLAIN + of:
        return None
    return marshal.loads(memoryview(data)[_HEADER:])  # noqa: S302 - as the library does, of the same file
