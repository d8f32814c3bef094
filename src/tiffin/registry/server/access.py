"""Who may ask: an htpasswd file with bcrypt hashes, and the server's certificate.

A check of one password costs bcrypt 50 ms and more on purpose, and a push has a hundred requests. A password that was
found right is therefore remembered for some minutes, by a keyed hash under a key of this process alone; wrong ones are
not, and only a few are worked on at once, so that guessing costs the guesser and not everybody else.
"""

import asyncio
import base64
import binascii
import hmac
import os
import ssl
import time

from tiffin.errors import InvalidArgument
from tiffin.registry.server.errors import Refusal, busy
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIXES = (b"$2y$", b"$2b$", b"$2a$")
_FILE_MAX = 1 << 20
_REMEMBERED_MAX = 256
_REMEMBERED_SECONDS = 300.0
_CHECKS_AT_ONCE = 2
_CHECKS_WAITING = 32
_PASSWORD_MAX = 72  # what bcrypt looks at, and htpasswd hashes
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="tiffin registry", charset="UTF-8"'}


class Access:
    """The users of an htpasswd file, which is read again whenever it changes."""

    def __init__(self, path: str, clock: "Callable[[], float]" = time.monotonic) -> None:
        """Raises InvalidArgument naming file and line."""
        self._path = path
        self._clock = clock
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}
        self._gate = asyncio.Semaphore(_CHECKS_AT_ONCE)
        self._waiting = 0
        self._stamp = _stamp(path)
        self._users = read_htpasswd(path)
        self._nobody = _hash_of_nobody(self._users)

    async def check(self, header: str) -> None:
        """Let an Authorization header pass. Raises Refusal: UNAUTHORIZED, and TOOMANYREQUESTS when too many passwords
        are being checked."""
        user, password = _basic(header)
        self._reload()
        stored = self._users.get(user, b"")
        seal = hmac.digest(self._key, b"\0".join((user, stored, password)), "sha256")
        if stored and self._right.get(seal, 0.0) > self._clock():
            return
        if not await self._verify(password, stored or self._nobody) or not stored:
            raise Refusal(401, "UNAUTHORIZED", "unknown user or wrong password", _CHALLENGE)
        if len(self._right) >= _REMEMBERED_MAX:
            del self._right[next(iter(self._right))]
        self._right[seal] = self._clock() + _REMEMBERED_SECONDS

    async def _verify(self, password: bytes, stored: bytes) -> bool:
        import bcrypt

        if self._waiting >= _CHECKS_WAITING:
            raise busy("too many passwords are being checked")
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(bcrypt.checkpw, password, stored)  # compares in constant time
        except ValueError:  # a NUL in the password
            return False
        finally:
            self._waiting -= 1

    def _reload(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            users = read_htpasswd(self._path)
        except InvalidArgument as error:
            raise Refusal(
                503, "UNAVAILABLE", "the registry's list of users is being changed; try again"
            ) from error
        self._users, self._stamp, self._nobody = users, stamp, _hash_of_nobody(users)


def read_htpasswd(path: str) -> dict[bytes, bytes]:
    """User → hash. Raises InvalidArgument."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_MAX + 1)
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > _FILE_MAX:
        raise InvalidArgument(f"{path} has more than {_FILE_MAX} bytes")
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, colon, stored = line.strip().partition(b":")
        if not user or not colon or not _is_bcrypt(stored):
            raise InvalidArgument(
                f"{path}:{number}: want USER:HASH with a bcrypt hash, as htpasswd -B writes"
            )
        users[user] = stored
    if not users:
        raise InvalidArgument(f"{path} names no user; add one with htpasswd -B")
    return users


def _is_bcrypt(stored: bytes) -> bool:
    import bcrypt

    if not stored.startswith(_PREFIXES) or len(stored) != 60 or not stored[4:6].isdigit():
        return False
    try:
        bcrypt.hashpw(b"", b"$2b$04$" + stored[7:29])  # whether its salt can be read
    except ValueError:
        return False
    return 4 <= int(stored[4:6]) <= 20


def _hash_of_nobody(users: dict[bytes, bytes]) -> bytes:
    """What the password of an unknown user is compared with, so that it takes as long as that of a known one."""
    some = next(iter(users.values()))
    return some[:29] + b"." * 31


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _basic(header: str) -> tuple[bytes, bytes]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Refusal(401, "UNAUTHORIZED", "authentication required", _CHALLENGE)
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        colon = b""
    if not colon:
        raise Refusal(401, "UNAUTHORIZED", "malformed credentials", _CHALLENGE)
    return user, password[:_PASSWORD_MAX]


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server's context from PEM files: TLS 1.2 and later. Raises InvalidArgument."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except FileNotFoundError as error:
        raise InvalidArgument(
            f"no such certificate or key: {certificate if not os.path.exists(certificate) else key}"
        ) from error
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"cannot use {certificate} with {key}: {error}") from error
    return context
