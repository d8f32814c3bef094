"""The local driver's options: `type`, `o` and `device`, which give a volume a filesystem of its own.

    tmpfs     type=tmpfs  device=tmpfs        o=size=64m,uid=1000
    bind      type=none   device=/srv/data    o=bind
    nfs       type=nfs    device=:/export     o=addr=10.0.0.7,rw
    overlay   type=overlay device=overlay     o=lowerdir=/a,upperdir=/b,workdir=/c

The words are mount(8)'s. The filesystem is mounted over the volume's directory while a container that has it runs.
"""

from __future__ import annotations

import errno
import os

from tiffin.errors import EngineError, InvalidArgument, NotFound, Unsupported
from tiffin.kernel import mounts
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN = ("type", "o", "device")
_LONGEST = 4000  # the kernel takes a page
_FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "sync": mounts.MS_SYNCHRONOUS,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "relatime": mounts.MS_RELATIME,
    "strictatime": mounts.MS_STRICTATIME,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}
_CLEARS = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "async": "sync", "atime": "noatime",
    "diratime": "nodiratime", "norelatime": "relatime", "nostrictatime": "strictatime", "defaults": "",
}  # fmt: skip


class Filesystem(NamedTuple):
    """What mount(2) is given."""

    device: str
    type: str
    flags: int
    data: str

    @property
    def is_bind(self) -> bool:
        return bool(self.flags & mounts.MS_BIND)


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raises InvalidArgument for options that no volume of the local driver can have, in Docker's words."""
    for key, value in options.items():
        if key not in _KNOWN:
            raise InvalidArgument(f'create {name}: invalid option: "{key}"')
        if len(os.fsencode(value)) > _LONGEST or not value.isprintable():
            raise InvalidArgument(
                f'create {name}: invalid value of option "{key}": want one line, not too long'
            )
    if not options:
        return
    for key in ("device", "type"):
        if not options.get(key):
            raise InvalidArgument(f'create {name}: missing required option: "{key}"')
    wanted = filesystem_of(options)
    if wanted.is_bind and not wanted.device.startswith("/"):
        raise InvalidArgument(
            f'create {name}: device of a bind must be an absolute path, not "{wanted.device}"'
        )
    if not wanted.is_bind and "/" in wanted.type:
        raise InvalidArgument(
            f'create {name}: invalid type "{wanted.type}": want a filesystem such as tmpfs or nfs'
        )


def filesystem_of(options: Mapping[str, str]) -> Filesystem:
    """The options as mount(2) takes them: general words become flags, the rest is the filesystem's own."""
    flags, data = 0, []
    for word in filter(None, options.get("o", "").split(",")):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word in _CLEARS:
            flags &= ~_FLAGS.get(_CLEARS[word], 0)
        else:
            data.append(word)
    kind = options["type"]
    if kind in ("bind", "rbind"):
        flags |= _FLAGS[kind]
    return Filesystem(options["device"], kind, flags, ",".join(data))


def attach(name: str, options: Mapping[str, str], place: str) -> None:
    """Mount the volume's filesystem on its directory `place`. Raises NotFound, Unsupported, EngineError, each of which
    says what mount(2) was told."""
    wanted = filesystem_of(options)
    try:
        if wanted.is_bind:
            _bind(wanted, place)
        else:
            data = _with_address(wanted) if wanted.type.startswith("nfs") else wanted.data
            mounts.mount(wanted.device, place, wanted.type, wanted.flags, data)
        mounts.mount(None, place, None, mounts.MS_PRIVATE | (wanted.flags & mounts.MS_REC))
    except OSError as error:
        raise _explained(name, wanted, error) from error


def _bind(wanted: Filesystem, place: str) -> None:
    if wanted.data:
        raise InvalidArgument(f"a bind has no option {wanted.data!r}")
    recursive = wanted.flags & mounts.MS_REC
    mounts.mount(wanted.device, place, None, mounts.MS_BIND | recursive)
    others = wanted.flags & ~(mounts.MS_BIND | mounts.MS_REC)
    if others:
        try:
            mounts.mount(None, place, None, mounts.MS_BIND | mounts.MS_REMOUNT | others)
        except OSError:
            mounts.umount(place)
            raise


def _with_address(wanted: Filesystem) -> str:
    """NFS in the kernel resolves no names: `addr=` becomes a number; without one it is the host of the device."""
    words = [word for word in wanted.data.split(",") if word]
    given = next((word[5:] for word in words if word.startswith("addr=")), "")
    named = (
        wanted.device[1:].partition("]") if wanted.device.startswith("[") else wanted.device.partition(":")
    )
    host = given or named[0]
    if not host:
        raise InvalidArgument(f"no server for the nfs device {wanted.device}; add o=addr=HOST")
    import socket

    try:
        address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise NotFound(f"cannot find the nfs server {host}: {error.strerror}") from error
    return ",".join([*(word for word in words if not word.startswith("addr=")), f"addr={address}"])


def _explained(name: str, wanted: Filesystem, error: OSError) -> Exception:
    what = f"cannot mount volume {name} (type={wanted.type}, device={wanted.device}, o={wanted.data or '-'})"
    if error.errno == errno.ENODEV:
        return Unsupported(
            f"{what}: this kernel has no filesystem {wanted.type}; load it with: modprobe {wanted.type}"
        )
    if error.errno == errno.ENOENT:
        return NotFound(f"{what}: no such file or directory: make the device, or remove the volume")
    return EngineError(f"{what}: {(error.strerror or str(error)).lower()}")
