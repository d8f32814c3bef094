"""The journald driver: one datagram a line in the journal's native protocol, with the fields that Docker sets."""

import os
import socket
from struct import Struct

from tiffin.supervisor.logs.forward import Forward, datagram
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.supervisor.logs import LogWriter

SOCKET = "/run/systemd/journal/socket"
_PRIORITY = {"stdout": b"6", "stderr": b"3"}
_SIZE = Struct("<Q")


class Journald(Forward):
    """A LogWriter to the host's journal."""

    def __init__(self, kept: "LogWriter", record: "ContainerRecord", path: str = SOCKET) -> None:
        self._path = path
        tag = record.log.tag or record.id[:12]
        fields = {
            "CONTAINER_ID": record.id[:12],
            "CONTAINER_ID_FULL": record.id,
            "CONTAINER_NAME": record.name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": record.image_name,
            "SYSLOG_IDENTIFIER": tag,
            **{_field_name(name): value for name, value in record.log.attributes.items()},
        }
        self._fields = b"".join(_field(name, value.encode()) for name, value in fields.items())
        super().__init__(kept, self._journal)

    def _journal(self) -> socket.socket:
        return datagram(self._path)

    def message(self, stream: str, line: bytes) -> bytes:
        return _field("PRIORITY", _PRIORITY[stream]) + _field("MESSAGE", line) + self._fields


def reachable() -> bool:
    """Whether this machine has a journal."""
    return os.path.exists(SOCKET)


def _field(name: str, value: bytes) -> bytes:
    """One field; in the form with a length, so that it may hold a newline."""
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + _SIZE.pack(len(value)) + value + b"\n"


def _field_name(name: str) -> str:
    """What the journal takes as a name: upper case, digits and underscores, no underscore first."""
    return (
        "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper()).lstrip("_0123456789")
        or "LABEL"
    )
