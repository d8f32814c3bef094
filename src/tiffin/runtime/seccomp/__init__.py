"""Seccomp filters: readable profile in, BPF bytes out, compiled once and kept.

`load_filter` is what starting a container pays for: two small reads when the filter is cached. The compiler,
the tables and json are imported only when it is not.
"""

from __future__ import annotations

import os
from binascii import crc32

from tiffin._version import __version__
from tiffin.errors import InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC = b"tiffin seccomp 1\n"
_MAX_PROFILE = 4 << 20


def read_profile(path: str = "") -> bytes:
    """The text of a profile file, or of the default profile. Raises NotFound, InvalidArgument."""
    try:
        with open(path or f"{os.path.dirname(__file__)}/default.json", "rb") as file:
            text = file.read(_MAX_PROFILE + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no such seccomp profile: {path}") from error
    if len(text) > _MAX_PROFILE:
        raise InvalidArgument(f"seccomp profile {path} is larger than {_MAX_PROFILE >> 20} MiB")
    return text


def seccomp_filter(wanted: Mapping[str, Any] | None, process: Mapping[str, Any], cache: str) -> bytes:
    """The filter of a document's `linux.seccomp`; empty without one."""
    if not wanted:
        return b""
    capabilities = frozenset((process.get("capabilities") or {}).get("bounding") or ())
    if "profile" in wanted:
        return load_filter(read_profile(wanted["profile"]), capabilities, cache)
    from tiffin import jsontext as json

    return load_filter(json.dumps(dict(wanted), sort_keys=True).encode(), capabilities, cache)


def load_filter(profile: bytes, capabilities: frozenset[str], cache: str) -> bytes:
    """The compiled filter of `profile` for this machine and kernel and a bounding set of `capabilities`.

    `cache` is a private directory ("" for none). A cached file holds its whole key beside the filter and the
    key is compared: two profiles can never be taken for each other. Raises InvalidArgument.
    """
    system = os.uname()
    release = ".".join(system.release.split(".")[:2])
    facts = f"{__version__} {system.machine} {release} {' '.join(sorted(capabilities))}\n"
    key = _MAGIC + facts.encode() + profile
    path = f"{cache}/seccomp-{crc32(key):08x}" if cache else ""
    if path:
        found = _read_cached(path, key)
        if found:
            return found
    compiled = _compile(profile, system.machine, capabilities, release)
    if path:
        _write_cached(path, key, compiled)
    return compiled


def _read_cached(path: str, key: bytes) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        data = os.read(fd, len(key) + (1 << 16))
    finally:
        os.close(fd)
    # The filter's length stands before it: a file cut short is no filter.
    body = data[len(key) :]
    length = int.from_bytes(body[:4], "little")
    if not data.startswith(key) or length == 0 or length != len(body) - 4:
        return b""
    return body[4:]


def _write_cached(path: str, key: bytes, compiled: bytes) -> None:
    # No fsync: after a power cut a short file is recognised and compiled anew.
    aside = f"{path}.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, key + len(compiled).to_bytes(4, "little") + compiled)
        os.rename(aside, path)
    finally:
        os.close(fd)


def _compile(profile: bytes, machine: str, capabilities: frozenset[str], release: str) -> bytes:
    from tiffin.runtime.seccomp.compiler import compile_filter
    from tiffin.runtime.seccomp.profile import resolve

    major, _, minor = release.partition(".")
    return compile_filter(resolve(profile, machine, capabilities, (int(major), int(minor))))
