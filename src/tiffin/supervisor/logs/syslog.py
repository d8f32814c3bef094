"""The syslog driver: RFC 3164 or RFC 5424 messages to a Unix socket, or over udp or tcp, as Docker formats them."""

import os
import socket
import time

from tiffin.supervisor.logs.forward import Forward, datagram, network, stream
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.supervisor.logs import LogWriter

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
FORMATS = ("rfc3164", "rfc5424", "rfc5424micro")
SCHEMES = ("udp", "tcp", "unix", "unixgram")
_PORT = 514
_SEVERITY = {"stdout": 6, "stderr": 3}  # informational, error
_LOCAL = ("/dev/log", "/var/run/syslog")


def parse_address(text: str) -> tuple[str, str, int]:
    """Scheme, host or path, and port of a syslog-address. Raises ValueError."""
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in SCHEMES or not rest:
        raise ValueError(text)
    if scheme in ("unix", "unixgram"):
        return scheme, rest, 0
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, port = rest, str(_PORT)
    if not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise ValueError(text)
    return scheme, host.strip("[]"), int(port)


class Syslog(Forward):
    """A LogWriter to a syslog server."""

    def __init__(self, kept: "LogWriter", record: "ContainerRecord") -> None:
        options = record.log.options
        self._address = parse_address(options["syslog-address"]) if "syslog-address" in options else None
        facility = options.get("syslog-facility", "daemon")
        number = int(facility) if facility.isdigit() else FACILITIES.index(facility)
        self._priority = {name: number * 8 + severity for name, severity in _SEVERITY.items()}
        self._form = options.get("syslog-format", "")
        self._tag = record.log.tag or record.id[:12]
        self._host = os.uname().nodename
        super().__init__(kept, self._server)

    def _server(self) -> socket.socket:
        if self._address is None:
            for path in _LOCAL:
                if os.path.exists(path):
                    return datagram(path)
            raise FileNotFoundError("no local syslog socket")
        scheme, host, port = self._address
        if scheme == "unix":
            return stream(host)
        if scheme == "unixgram":
            return datagram(host)
        return network(socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM, host, port)

    def message(self, stream: str, line: bytes) -> bytes:
        now = time.time()
        who = f"{self._tag}[{os.getpid()}]"
        if self._form.startswith("rfc5424"):
            fraction = f".{int(now % 1 * 1e6):06}" if self._form == "rfc5424micro" else ""
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + fraction + "Z"
            head = f"<{self._priority[stream]}>1 {when} {self._host} {self._tag} {os.getpid()} {self._tag} - "
        else:
            when = time.strftime("%b %e %H:%M:%S", time.localtime(now))
            local = self._address is None or self._address[0].startswith("unix")
            host = "" if local and not self._form else f"{self._host} "
            head = f"<{self._priority[stream]}>{when} {host}{who}: "
        return head.encode() + line + b"\n"
